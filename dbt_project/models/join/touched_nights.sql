{{ config(materialized='table') }}

-- A table for the same reason as the touched ids: the engine opens the nights of the lake that it names, and no other.
select 'predictions' as source, arrival_date from {{ ref('nights') }}

union

select 'predictions' as source, arrival_date
from {{ ref('prediction_index') }}
where arrival_date not in (select arrival_date from {{ ref('nights') }})
    and number in (select number from {{ ref('touched_ids') }} where reason = 'label')

union

select 'silence' as source, arrival_date
from {{ ref('touched_ids') }}
where reason = 'silence'

union

select 'labels' as source, arrival_date
from {{ ref('label_index') }}
where arrival_date not in (select arrival_date from {{ ref('nights') }})
    and number in (select number from {{ ref('touched_ids') }})
