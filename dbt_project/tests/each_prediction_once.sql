{{ config(meta={'dagster': {'ref': {'name': 'prediction_index'}}}) }}
{%- set indexed, ids = ref('prediction_index'), ref('touched_ids') %}

-- No prediction of tonight came before, on any night, under the same version and role. An id that came once is beyond
-- doubt. Two ids may share a number by chance, so those behind one that comes twice are compared themselves.
with suspects as (

    {{ repeated('number', ids ~ ' where predictions > 0') }}

    union

    select number
    from {{ indexed }}
    where not {{ tonight() }}
        and number in (select number from {{ ids }} where predictions > 0)

),

repeated as (

    select min(number) as number
    from {{ indexed }}
    where number in (select number from suspects)
    group by {{ row_key(['number', 'version', 'role']) }}
    having count(*) > 1

)

select prediction_id, version, role, count(*) as times
from {{ ref('touched_predictions') }}
where number in (select number from repeated)
group by prediction_id, version, role
having count(*) > 1
