{{ config(materialized='table') }}

-- A table, not a part of the query that uses it: how few they are tells the engine to look for them in the indexes, and
-- not the other way round.
select
    number,
    'label' as reason,
    arrival_date
from {{ ref('label_index') }}
where arrival_date in (select arrival_date from {{ ref('nights') }})

union all

select
    number,
    'prediction' as reason,
    arrival_date
from {{ ref('prediction_index') }}
where arrival_date in (select arrival_date from {{ ref('nights') }})

union all

select
    prediction_index.number,
    'silence' as reason,
    prediction_index.arrival_date
from {{ ref('prediction_index') }} as prediction_index
cross join {{ ref('parameters') }} as parameters
where parameters.mode = 'positives_only'
    and not prediction_index.failed
    and greatest(
        prediction_index.arrival_date,
        {{ days_after('prediction_index.event_date', 'parameters.maturity_days') }}
    ) in (select arrival_date from {{ ref('nights') }})
