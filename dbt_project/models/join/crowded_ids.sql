{{ config(materialized='table') }}

-- Most ids have one event, a label or silence. These may have several: two labels tonight, one before, or a label where
-- silence has spoken.
{{ repeated('number', ref('touched_ids') ~ ' where labels > 0') }}

union

select number
from {{ ref('label_index') }}
where arrival_date not in (select arrival_date from {{ ref('nights') }})
    and number in (select number from {{ ref('touched_ids') }})

union

select prediction_index.number
from {{ ref('prediction_index') }} as prediction_index
cross join {{ ref('parameters') }} as parameters
where parameters.mode = 'positives_only'
    and prediction_index.number in (select number from {{ ref('touched_ids') }} where labels > 0)
    and {{ days_after('prediction_index.event_date', 'parameters.maturity_days') }}
    <= (select max(arrival_date) from {{ ref('nights') }})
