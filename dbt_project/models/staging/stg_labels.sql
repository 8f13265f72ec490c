select
    prediction_id,
    label,
    available_at,
    arrival_date
from {{ lake('labels', 'select arrival_date from ' ~ run_table('nights')) }}
