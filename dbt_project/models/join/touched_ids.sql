{{ config(materialized='table') }}

-- A table, not a part of the query that uses it: how few they are tells the engine to look for them in the indexes, and
-- not the other way round.
select
    number,
    count(label) as labels,
    count(prediction) as predictions
from (

    select number, 1 as label, cast(null as integer) as prediction
    from {{ ref('label_index') }}
    where arrival_date in (select arrival_date from {{ ref('nights') }})

    union all

    select number, cast(null as integer) as label, 1 as prediction
    from {{ ref('prediction_index') }}
    where arrival_date in (select arrival_date from {{ ref('nights') }})

    union all

    select
        prediction_index.number,
        cast(null as integer) as label,
        cast(null as integer) as prediction
    from {{ ref('prediction_index') }} as prediction_index
    cross join {{ ref('parameters') }} as parameters
    where parameters.mode = 'positives_only'
        and not prediction_index.failed
        and greatest(
            prediction_index.arrival_date,
            {{ days_after('prediction_index.event_date', 'parameters.maturity_days') }}
        ) in (select arrival_date from {{ ref('nights') }})

) as arrived
group by number
