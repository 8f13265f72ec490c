-- Versions side by side: of each metric and window length, the newest window about which two or more were measured.
with measured as (

    select *
    from {{ ref('known_metrics') }}
    where version <> '' and segment = '' and subject = '' and value is not null

),

first_seen as (

    select model, version, min(window_end) as first_window_end from measured group by model, version

),

compared as (

    select
        measured.*,
        first_seen.first_window_end,
        count(*) over (
            partition by measured.model, family, metric, window_start, window_end
        ) as measured_together,
        min(is_final) over (
            partition by measured.model, family, metric, window_start, window_end
        ) as all_final
    from measured
    inner join first_seen on measured.model = first_seen.model and measured.version = first_seen.version

),

ranked as (

    select
        *,
        dense_rank() over (
            partition by model, family, metric, window_days order by all_final desc, window_end desc
        ) as window_place,
        row_number() over (
            partition by model, family, metric, window_start, window_end
            order by
                first_window_end desc, length(version) desc, version desc,
                case when role = 'production' then 0 else 1 end, role
        ) as newness
    from compared
    where measured_together > 1

),

shown as (

    select * from ranked where window_place = 1

)

select
    shown.model, shown.family, shown.metric, shown.window_days, shown.window_start, shown.window_end, shown.as_of,
    shown.version, shown.role, shown.value, shown.lower, shown.upper, shown.rows, shown.labeled_rows, shown.status,
    newest.version as newest_version,
    newest.role as newest_role,
    shown.value - newest.value as difference
from shown
inner join shown as newest
    on shown.model = newest.model
    and shown.family = newest.family
    and shown.metric = newest.metric
    and shown.window_days = newest.window_days
    and newest.newness = 1
