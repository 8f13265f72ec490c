{{ index() }}
select
    {{ row_key(['prediction_id']) }} as number,
    arrival_date
from {{ ref('stg_labels') }}
where {{ indexed() }}
