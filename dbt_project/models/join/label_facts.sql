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
        silence.negative_label as label,
        greatest(
            predictions.prediction_arrival_date,
            {{ days_after('predictions.event_date', 'silence.maturity_days') }}
        ) as silent_on
    from predictions
    cross join silence

),

-- Nothing can change tonight for any other prediction.
touched as (

    select prediction_id from labels where arrival_date in (select arrival_date from nights)
    union all
    select prediction_id from predictions where prediction_arrival_date in (select arrival_date from nights)
    union all
    select prediction_id from silent_predictions where silent_on in (select arrival_date from nights)

),

-- Their whole history, so that a night says the same whenever and with whichever other nights it is built.
labelled as (

    select
        predictions.*,
        labels.label,
        labels.available_at,
        labels.arrival_date as label_arrival_date,
        greatest(predictions.prediction_arrival_date, labels.arrival_date) as believed_on
    from predictions
    inner join labels on predictions.prediction_id = labels.prediction_id
    where predictions.prediction_id in (select prediction_id from touched)

),

last_of_night as (

    select
        *,
        row_number() over (
            partition by prediction_id, version, role, believed_on
            order by label_arrival_date desc, available_at desc
        ) as place
    from labelled

),

first_label as (

    select prediction_id, version, role, min(believed_on) as first_on
    from labelled
    group by prediction_id, version, role

),

beliefs as (

    select
        prediction_id, version, role, event_date, prediction_arrival_date,
        believed_on, label, available_at, 'label' as kind
    from last_of_night
    where place = 1

    union all

    select
        silent.prediction_id, silent.version, silent.role, silent.event_date, silent.prediction_arrival_date,
        silent.silent_on as believed_on, silent.label, cast(null as timestamp) as available_at, 'silence' as kind
    from silent_predictions as silent
    left join first_label
        on silent.prediction_id = first_label.prediction_id
        and silent.version = first_label.version
        and silent.role = first_label.role
    where silent.prediction_id in (select prediction_id from touched)
        and (first_label.first_on is null or first_label.first_on > silent.silent_on)

),

compared as (

    select
        *,
        lag(label) over (partition by prediction_id, version, role order by believed_on) as label_before
    from beliefs

),

-- A label that only repeats what was believed changes nothing.
changes as (

    select
        *,
        lag(believed_on) over (partition by prediction_id, version, role order by believed_on) as previous_on,
        lag(label) over (partition by prediction_id, version, role order by believed_on) as previous_label,
        lag(available_at) over (partition by prediction_id, version, role order by believed_on) as previous_available_at
    from compared
    where label_before is null or label_before <> label

),

facts as (

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
