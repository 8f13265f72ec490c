select
    {{ row_key(['prediction_id']) }} as number,
    arrival_date
from {{ ref('stg_labels') }}
where arrival_date in (select arrival_date from {{ ref('nights') }})
