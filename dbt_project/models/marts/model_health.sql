with models as (

    select
        *,
        case task
            when 'binary' then 'roc_auc'
            when 'multiclass' then 'accuracy'
            when 'regression' then 'root_mean_squared_error'
        end as headline_metric
    from {{ source('store', 'models') }}

),

runs as (

    select
        *,
        row_number() over (partition by model order by finished_at desc, arrival_date desc) as place
    from {{ source('store', 'runs') }}

),

nights as (

    select model, max(as_of) as last_night from {{ ref('known_metrics') }} group by model

),

-- The whole model in its first role: production, where there is any.
roles as (

    select
        model,
        role,
        row_number() over (partition by model order by case when role = 'production' then 0 else 1 end, role) as place
    from (select distinct model, role from {{ ref('latest_metrics') }}) as found

),

overall as (

    select latest.*
    from {{ ref('latest_metrics') }} as latest
    inner join roles on latest.model = roles.model and latest.role = roles.role and roles.place = 1
    where latest.version = '' and latest.segment = ''

),

-- Of each number the final one over the longest window; where none is final, the provisional one.
ranked as (

    select
        *,
        row_number() over (
            partition by model, metric
            order by
                case when status in ('ok', 'warn', 'alert') then 0 when value is not null then 1 else 2 end,
                window_days desc
        ) as longest,
        row_number() over (partition by model, metric order by window_end desc, window_days) as newest
    from overall
    where subject = ''

),

drift as (

    select
        overall.*,
        row_number() over (
            partition by model, subject order by case when window_days = 7 then 0 else 1 end, window_days desc
        ) as place
    from overall
    where family = 'drift' and metric = 'psi' and subject not in ('score', 'prediction', 'label')

),

drifted as (

    select
        *,
        row_number() over (partition by model order by value desc, subject) as worst,
        count(*) over (partition by model) as drifted_features
    from drift
    where place = 1 and value > 0.2

),

-- What the judge says and people have not closed; what they silenced does not colour the model.
troubles as (

    select
        model,
        count(*) as open_incidents,
        max(case severity when 'critical' then 2 when 'warning' then 1 else 0 end) as worst,
        min(since) as trouble_since
    from {{ source('store', 'incidents') }}
    where state in ('open', 'acknowledged')
    group by model

),

newest_decisions as (

    select
        model,
        status,
        row_number() over (partition by decision_id order by seq desc) as place
    from {{ source('store', 'decisions') }}

),

waiting as (

    select model, count(*) as pending_decisions
    from newest_decisions
    where place = 1 and status = 'pending'
    group by model

),

health as (

    select
        models.model,
        models.task,
        models.owner,
        models.timezone,
        nights.last_night,
        runs.arrival_date as last_run_night,
        runs.status as last_run_status,
        runs.error as last_run_error,
        runs.finished_at as last_run_finished_at,
        predictions.rows as predictions,
        models.headline_metric,
        headline.value as headline_value,
        headline.lower as headline_lower,
        headline.upper as headline_upper,
        headline.window_start as headline_window_start,
        headline.window_end as headline_window_end,
        headline.as_of as headline_as_of,
        headline.baseline as headline_baseline,
        headline.status as headline_status,
        coverage.value as label_coverage,
        freshness.value as freshness_hours,
        quarantined.value as quarantined_rate,
        coalesce(drifted.drifted_features, 0) as drifted_features,
        drifted.subject as worst_drifted_feature,
        drifted.value as worst_drift,
        coalesce(troubles.open_incidents, 0) as open_incidents,
        coalesce(troubles.worst, 0) as worst_trouble,
        troubles.trouble_since,
        coalesce(waiting.pending_decisions, 0) as pending_decisions
    from models
    left join nights on models.model = nights.model
    left join runs on models.model = runs.model and runs.place = 1
    left join ranked as headline
        on models.model = headline.model and models.headline_metric = headline.metric
        and headline.family = 'performance' and headline.longest = 1
    left join ranked as coverage
        on models.model = coverage.model and coverage.metric = 'label_coverage' and coverage.longest = 1
    left join ranked as freshness
        on models.model = freshness.model and freshness.metric = 'freshness_hours' and freshness.newest = 1
    left join ranked as quarantined
        on models.model = quarantined.model and quarantined.metric = 'quarantined_rate' and quarantined.newest = 1
    left join ranked as predictions
        on models.model = predictions.model and predictions.metric = 'predictions'
        and predictions.window_end = nights.last_night and predictions.newest = 1
    left join drifted on models.model = drifted.model and drifted.worst = 1
    left join troubles on models.model = troubles.model
    left join waiting on models.model = waiting.model

)

select
    model, task, owner, timezone,
    case
        when last_run_status = 'failed' then 'failed'
        when worst_trouble = 2 then 'alert'
        when worst_trouble = 1 then 'warn'
        when last_night is null then 'insufficient_data'
        else 'ok'
    end as status,
    last_night, last_run_night, last_run_status, last_run_error, last_run_finished_at, predictions,
    headline_metric, headline_value, headline_lower, headline_upper, headline_window_start, headline_window_end,
    headline_as_of, headline_baseline, headline_status,
    label_coverage, freshness_hours, quarantined_rate, drifted_features, worst_drifted_feature, worst_drift,
    open_incidents, trouble_since, pending_decisions
from health
