select
    prediction_id,
    version,
    role,
    event_date,
    arrival_date,
    failed
from {{ lake('predictions', 'select arrival_date from ' ~ run_table('nights')) }}
