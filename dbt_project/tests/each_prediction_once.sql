{{ config(meta={'dagster': {'ref': {'name': 'prediction_index'}}}) }}

-- No prediction of tonight came before, on any night, under the same version and role. Two may share a number by chance,
-- so those behind one that comes twice are compared themselves.
with tonight as (

    select number, {{ row_key(['number', 'version', 'role']) }} as prediction
    from {{ ref('prediction_index') }}
    where {{ tonight() }}

),

earlier as (

    select number, {{ row_key(['number', 'version', 'role']) }} as prediction
    from {{ ref('prediction_index') }}
    where not {{ tonight() }}
        and number in (select number from {{ ref('touched_ids') }} where reason = 'prediction')

),

suspects as (

    select min(number) as number
    from (select * from tonight union all select * from earlier) as predictions
    group by prediction
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
