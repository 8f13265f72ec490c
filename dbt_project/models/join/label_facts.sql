{{ config(post_hook="{{ remember_nights() }}") }}

-- What is believed of a prediction changes when a label comes, when it is corrected, and, where silence means
-- negative, at maturity. Each change is one or two facts: -1 for what was believed, +1 for what is believed now.
with nights as (

    select arrival_date from {{ ref('nights') }}

),

predictions as (

    select
        prediction_id,
        version,
        role,
        event_date,
        arrival_date as prediction_arrival_date
    from {{ ref('prediction_index') }}
    where not failed

),

labels as (

    select prediction_id, label, available_at, arrival_date from {{ ref('stg_labels') }}

),

silence as (

    select maturity_days, negative_label from {{ ref('parameters') }} where mode = 'positives_only'

),

silent_predictions as (

    select
        predictions.*,
        silence.negative_label,
        greatest(
            predictions.prediction_arrival_date,
            {{ days_after('predictions.event_date', 'silence.maturity_days') }}
        ) as silent_on
    from predictions
    cross join silence

),

{% if is_incremental() %}
-- Nothing can change tonight for any other prediction.
touched as (

    select prediction_id from labels where arrival_date in (select arrival_date from nights)
    union all
    select prediction_id from predictions where prediction_arrival_date in (select arrival_date from nights)
    union all
    select prediction_id from silent_predictions where silent_on in (select arrival_date from nights)

),

{% endif %}

-- Their whole history, so that a night says the same whenever and with whichever other nights it is built.
events as (

    select
        predictions.*,
        'label' as kind,
        labels.label,
        labels.available_at,
        labels.arrival_date as label_arrival_date,
        greatest(predictions.prediction_arrival_date, labels.arrival_date) as believed_on
    from predictions
    inner join labels on predictions.prediction_id = labels.prediction_id
    {% if is_incremental() %}
    where predictions.prediction_id in (select prediction_id from touched)
    {% endif %}

    union all

    select
        prediction_id, version, role, event_date, prediction_arrival_date,
        'silence' as kind,
        negative_label as label,
        cast(null as timestamp) as available_at,
        silent_on as label_arrival_date,
        silent_on as believed_on
    from silent_predictions
    {% if is_incremental() %}
    where prediction_id in (select prediction_id from touched)
    {% endif %}

),

placed as (

    select
        *,
        row_number() over history as place,
        lead(believed_on) over history as next_on,
        lead(kind) over history as next_kind,
        count(*) over (partition by prediction_id, version, role) as events
    from events
    window history as (
        partition by prediction_id, version, role
        order by believed_on, kind, label_arrival_date, available_at
    )

),

-- Silence speaks only where no label came before it or on its night; of a night's labels the last one counts.
beliefs as (

    select * from placed
    where (kind = 'silence' and place = 1)
        or (kind = 'label' and (next_on is null or next_on <> believed_on or next_kind = 'silence'))

),

-- Most predictions are labelled once. The others' beliefs are compared with those before them.
compared as (

    select
        *,
        lag(label) over (partition by prediction_id, version, role order by believed_on) as label_before
    from beliefs
    where events > 1

),

-- A label that only repeats what was believed changes nothing.
changes as (

    select
        *,
        lag(believed_on) over history as previous_on,
        lag(label) over history as previous_label,
        lag(available_at) over history as previous_available_at
    from compared
    where label_before is null or label_before <> label
    window history as (partition by prediction_id, version, role order by believed_on)

),

facts as (

    select
        prediction_id, version, role, event_date, prediction_arrival_date, believed_on as arrival_date,
        cast(1 as tinyint) as sign, label, available_at, kind
    from beliefs
    where events = 1

    union all

    select
        prediction_id, version, role, event_date, prediction_arrival_date, believed_on as arrival_date,
        cast(1 as tinyint) as sign, label, available_at,
        case when previous_on is null then kind else 'correction' end as kind
    from changes

    union all

    select
        prediction_id, version, role, event_date, prediction_arrival_date, believed_on as arrival_date,
        cast(-1 as tinyint) as sign, previous_label as label, previous_available_at as available_at,
        'correction' as kind
    from changes
    where previous_on is not null

)

select * from facts where arrival_date in (select arrival_date from nights)
