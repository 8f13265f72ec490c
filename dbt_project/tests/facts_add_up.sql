{{ config(meta={'dagster': {'ref': {'name': 'label_facts'}}}) }}

-- A night says a thing once, and the facts of a prediction sum up to one label that is believed, or to none. One fact of
-- +1 does; asked are predictions that tonight is about and that have other facts. Two may share a number by chance, so
-- their facts are compared by what they are about.
with tonight as (

    select number, {{ row_key(['number', 'version', 'role']) }} as prediction, sign
    from {{ ref('label_facts') }}
    where {{ tonight() }}

),

earlier as (

    select number, {{ row_key(['number', 'version', 'role']) }} as prediction, sign
    from {{ ref('label_facts') }}
    where not {{ tonight() }}
        and number in (select number from {{ ref('touched_ids') }})

),

suspects as (

    select min(number) as number
    from (select * from tonight union all select * from earlier) as facts
    group by prediction
    having count(*) > 1 or sum(sign) <> 1

)

select prediction_id, version, role, sum(sign) as believed, count(*) as facts
from {{ ref('label_facts') }}
where number in (select number from suspects)
group by prediction_id, version, role
having sum(sign) not in (0, 1) or count(*) <> count(distinct {{ row_key(['arrival_date', 'sign']) }})
