{{ config(materialized='view') }}

select
    {{ row_key(['prediction_id']) }} as number,
    prediction_id,
    label,
    available_at,
    arrival_date
from {{ lake('labels', 'select arrival_date from ' ~ ref('touched_nights') ~ " where source = 'labels'") }}
