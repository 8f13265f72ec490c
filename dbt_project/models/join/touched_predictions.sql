{{ config(materialized='view') }}

select
    {{ row_key(['prediction_id']) }} as number,
    prediction_id,
    version,
    role,
    event_date,
    arrival_date,
    failed
from {{ lake('predictions', 'select arrival_date from ' ~ ref('touched_nights') ~ " where source in ('predictions', 'silence')") }}
