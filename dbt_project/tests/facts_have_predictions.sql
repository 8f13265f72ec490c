{{ config(meta={'dagster': {'ref': {'name': 'label_facts'}}}) }}

-- A fact is about a prediction that had arrived and had not failed, and tells its dates as the prediction does.
select prediction_id, version, role, event_date, prediction_arrival_date, arrival_date
from {{ ref('label_facts') }}
where {{ tonight() }}
    and (
        arrival_date < prediction_arrival_date
        or number <> {{ row_key(['prediction_id']) }}
        or {{ row_key(['number', 'version', 'role', 'event_date', 'prediction_arrival_date']) }} not in (
            select {{ row_key(['number', 'version', 'role', 'event_date', 'arrival_date']) }}
            from {{ ref('prediction_index') }}
            where not failed and arrival_date in (select arrival_date from {{ ref('touched_nights') }})
        )
    )
