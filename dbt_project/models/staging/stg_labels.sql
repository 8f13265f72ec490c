select
    prediction_id,
    label,
    available_at,
    arrival_date
from {{ arrivals('labels') }}
