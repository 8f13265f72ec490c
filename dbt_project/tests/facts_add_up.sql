-- The facts of a prediction sum up to one label that is believed, or to none. Asked of those that tonight is about.
with suspects as (

    select number
    from {{ ref('label_facts') }}
    where number in (select number from {{ ref('label_facts') }} where {{ tonight() }})
    group by number, {{ row_key(['version', 'role']) }}
    having sum(sign) not in (0, 1)

)

select prediction_id, version, role, sum(sign) as believed
from {{ ref('label_facts') }}
where number in (select number from suspects)
group by prediction_id, version, role
having sum(sign) not in (0, 1)
