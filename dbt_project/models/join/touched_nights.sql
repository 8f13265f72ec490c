{{ config(materialized='table') }}

-- A table for the same reason as the touched ids: the engine opens the nights of the lake that it names, and no other.
with earlier_predictions as (

    select number, event_date, arrival_date, failed
    from {{ ref('prediction_index') }}
    where arrival_date not in (select arrival_date from {{ ref('nights') }})
        and number in (select number from {{ ref('touched_ids') }})

),

silence as (

    select
        prediction_index.number,
        prediction_index.arrival_date,
        greatest(
            prediction_index.arrival_date,
            {{ days_after('prediction_index.event_date', 'parameters.maturity_days') }}
        ) as silent_on
    from {{ ref('prediction_index') }} as prediction_index
    cross join {{ ref('parameters') }} as parameters
    where parameters.mode = 'positives_only'
        and not prediction_index.failed

)

select 'predictions' as source, arrival_date from {{ ref('nights') }}

union

select 'predictions' as source, arrival_date from earlier_predictions

union

select 'silence' as source, arrival_date
from silence
where silent_on in (select arrival_date from {{ ref('nights') }})

union

select 'labels' as source, arrival_date from {{ ref('nights') }}

union

select 'labels' as source, arrival_date
from {{ ref('label_index') }}
where arrival_date not in (select arrival_date from {{ ref('nights') }})
    and number in (select number from {{ ref('touched_ids') }})

union

-- What was said of the crowded ids before: on the night that a prediction came, a label, or silence spoke.
select 'facts' as source, arrival_date
from (

    select number, arrival_date from earlier_predictions
    union all
    select number, arrival_date from {{ ref('label_index') }}
    union all
    select number, silent_on as arrival_date from silence

) as events
where arrival_date not in (select arrival_date from {{ ref('nights') }})
    and arrival_date < (select max(arrival_date) from {{ ref('nights') }})
    and number in (select number from {{ ref('crowded_ids') }})
