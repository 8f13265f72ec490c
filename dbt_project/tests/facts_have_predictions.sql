{{ config(meta={'dagster': {'ref': {'name': 'label_facts'}}}) }}

-- A fact is about a prediction that had arrived and had not failed, and tells its dates as the prediction does: of no
-- version, role and day are more labels told than there are predictions. Which row each is about, profiles find.
with told as (

    select
        version, role, event_date, prediction_arrival_date,
        sum(case when kind = 'correction' then 0 else 1 end) as facts,
        sum(case when arrival_date < prediction_arrival_date then 1 else 0 end) as early
    from {{ ref('label_facts') }}
    group by version, role, event_date, prediction_arrival_date

),

predictions as (

    select version, role, event_date, arrival_date, count(*) as predictions
    from {{ ref('prediction_index') }}
    where not failed and arrival_date in (select arrival_date from {{ ref('touched_nights') }})
    group by version, role, event_date, arrival_date

)

select told.version, told.role, told.event_date, told.prediction_arrival_date, told.facts, told.early
from told
left join predictions
    on told.version = predictions.version
    and told.role = predictions.role
    and told.event_date = predictions.event_date
    and told.prediction_arrival_date = predictions.arrival_date
where told.early > 0 or told.facts > coalesce(predictions.predictions, -1)
