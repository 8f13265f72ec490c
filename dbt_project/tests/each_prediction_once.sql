{{ config(meta={'dagster': {'ref': {'name': 'prediction_index'}}}) }}

-- No prediction of tonight came before, on any night, under the same version and role. Two ids may share a number by
-- chance, so the rows behind one that comes twice are compared themselves.
with suspects as (

    select number
    from {{ ref('prediction_index') }}
    where number in (select number from {{ ref('prediction_index') }} where {{ tonight() }})
    group by number, {{ row_key(['version', 'role']) }}
    having count(*) > 1

)

select prediction_id, version, role, count(*) as times
from {{ ref('stg_predictions') }}
where arrival_date in (
    select arrival_date from {{ ref('prediction_index') }} where number in (select number from suspects)
)
    and {{ row_key(['prediction_id']) }} in (select number from suspects)
group by prediction_id, version, role
having count(*) > 1
