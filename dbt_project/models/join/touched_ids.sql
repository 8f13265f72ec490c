{{ config(materialized='table') }}

-- A table, not a part of the query that uses it: how few they are tells the engine to look for them in the indexes, and
-- not the other way round. As they come, for to group millions of them costs more than to be told one twice.
select number, cast(1 as tinyint) as labels, cast(0 as tinyint) as predictions
from {{ ref('label_index') }}
where arrival_date in (select arrival_date from {{ ref('nights') }})

union all

select number, cast(0 as tinyint) as labels, cast(1 as tinyint) as predictions
from {{ ref('prediction_index') }}
where arrival_date in (select arrival_date from {{ ref('nights') }})

union all

select prediction_index.number, cast(0 as tinyint) as labels, cast(0 as tinyint) as predictions
from {{ ref('prediction_index') }} as prediction_index
cross join {{ ref('parameters') }} as parameters
where parameters.mode = 'positives_only'
    and not prediction_index.failed
    and greatest(
        prediction_index.arrival_date,
        {{ days_after('prediction_index.event_date', 'parameters.maturity_days') }}
    ) in (select arrival_date from {{ ref('nights') }})
