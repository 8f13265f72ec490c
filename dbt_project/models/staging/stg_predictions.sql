select
    prediction_id,
    version,
    role,
    event_date,
    arrival_date,
    failed
from {{ arrivals('predictions') }}
