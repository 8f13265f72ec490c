-- A fact is about a prediction that had arrived and had not failed, and tells its dates as the prediction does.
select facts.*
from {{ ref('label_facts') }} as facts
left join {{ ref('prediction_index') }} as predictions
    on facts.prediction_id = predictions.prediction_id
    and facts.version = predictions.version
    and facts.role = predictions.role
    and facts.event_date = predictions.event_date
    and facts.prediction_arrival_date = predictions.arrival_date
    and not predictions.failed
where {{ tonight('facts.arrival_date') }}
    and (predictions.prediction_id is null or facts.arrival_date < facts.prediction_arrival_date)
