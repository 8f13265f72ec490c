{{ index() }}
select
    {{ row_key(['prediction_id']) }} as number,
    version,
    role,
    event_date,
    arrival_date,
    failed
from {{ ref('stg_predictions') }}
where {{ indexed() }}
