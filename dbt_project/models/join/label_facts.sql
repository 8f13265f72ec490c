{{ config(materialized='parquet_file' if target.type == 'duckdb' else 'table', post_hook="{{ remember_nights() }}") }}

-- What is believed of a prediction changes when a label comes, when it is corrected, and, where silence means
-- negative, at maturity. Each change is one or two facts: -1 for what was believed, +1 for what is believed now.
--
-- Nothing can change tonight but for the touched ids, and the indexes tell which nights of the lake hold them: no other
-- is read. Most predictions have one event, a label or silence, and then that is the fact. Of a crowded id the whole
-- history is read, so that a night says the same whenever and with whichever other nights it is built.
with nights as (

    select arrival_date from {{ ref('nights') }}

),

silence as (

    select maturity_days, negative_label from {{ ref('parameters') }} where mode = 'positives_only'

),

labels as (

    select prediction_id, label, available_at, arrival_date
    from {{ ref('touched_labels') }}
    where arrival_date in (select arrival_date from nights)
        and number not in (select number from {{ ref('crowded_ids') }})

),

predictions as (

    select prediction_id, version, role, event_date, arrival_date as prediction_arrival_date
    from {{ ref('touched_predictions') }}
    where not failed

),

silent_predictions as (

    select
        prediction_id,
        version,
        role,
        event_date,
        arrival_date as prediction_arrival_date,
        negative_label,
        greatest(arrival_date, {{ days_after('event_date', 'maturity_days') }}) as silent_on
    from {{ ref('touched_predictions') }}
    cross join silence
    where not failed
        and arrival_date in (select arrival_date from {{ ref('touched_nights') }} where source = 'silence')
        and number not in (select number from {{ ref('crowded_ids') }})

),

crowd as (

    select prediction_id, version, role, event_date, arrival_date as prediction_arrival_date
    from {{ ref('touched_predictions') }}
    where not failed and number in (select number from {{ ref('crowded_ids') }})

),

crowd_labels as (

    select prediction_id, label, available_at, arrival_date
    from {{ ref('touched_labels') }}
    where number in (select number from {{ ref('crowded_ids') }})

),

events as (

    select
        crowd.*,
        'label' as kind,
        crowd_labels.label,
        crowd_labels.available_at,
        crowd_labels.arrival_date as label_arrival_date,
        greatest(crowd.prediction_arrival_date, crowd_labels.arrival_date) as believed_on
    from crowd
    inner join crowd_labels on crowd.prediction_id = crowd_labels.prediction_id

    union all

    select
        crowd.*,
        'silence' as kind,
        silence.negative_label as label,
        cast(null as timestamp) as available_at,
        greatest(
            crowd.prediction_arrival_date, {{ days_after('crowd.event_date', 'silence.maturity_days') }}
        ) as label_arrival_date,
        greatest(
            crowd.prediction_arrival_date, {{ days_after('crowd.event_date', 'silence.maturity_days') }}
        ) as believed_on
    from crowd
    cross join silence

),

placed as (

    select
        *,
        row_number() over history as place,
        lead(believed_on) over history as next_on,
        lead(kind) over history as next_kind
    from events
    window history as (
        partition by prediction_id, version, role
        order by believed_on, kind, label_arrival_date, available_at
    )

),

-- Silence speaks only where no label came before it or on its night; of a night's labels the last one counts.
beliefs as (

    select
        *,
        lag(label) over (partition by prediction_id, version, role order by believed_on) as label_before
    from placed
    where (kind = 'silence' and place = 1)
        or (kind = 'label' and (next_on is null or next_on <> believed_on or next_kind = 'silence'))

),

-- A label that only repeats what was believed changes nothing.
changes as (

    select
        *,
        lag(believed_on) over history as previous_on,
        lag(label) over history as previous_label,
        lag(available_at) over history as previous_available_at
    from beliefs
    where label_before is null or label_before <> label
    window history as (partition by prediction_id, version, role order by believed_on)

),

facts as (

    select
        predictions.prediction_id, predictions.version, predictions.role, predictions.event_date,
        predictions.prediction_arrival_date,
        greatest(predictions.prediction_arrival_date, labels.arrival_date) as arrival_date,
        cast(1 as tinyint) as sign, labels.label, labels.available_at, 'label' as kind
    from predictions
    inner join labels on predictions.prediction_id = labels.prediction_id

    union all

    select
        prediction_id, version, role, event_date, prediction_arrival_date, silent_on as arrival_date,
        cast(1 as tinyint) as sign, negative_label as label, cast(null as timestamp) as available_at, 'silence' as kind
    from silent_predictions

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
