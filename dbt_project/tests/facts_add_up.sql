-- The facts of a prediction sum up to one label that is believed, or to none.
with numbered as (

    select *, {{ row_key(['prediction_id', 'version', 'role']) }} as number from {{ ref('label_facts') }}

),

suspects as (

    select number
    from numbered
    where number in (select number from numbered where {{ tonight() }})
    group by number
    having sum(sign) not in (0, 1)

)

select prediction_id, version, role, sum(sign) as believed
from numbered
where number in (select number from suspects)
group by prediction_id, version, role
having sum(sign) not in (0, 1)
