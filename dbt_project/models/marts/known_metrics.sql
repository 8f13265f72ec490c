-- Of every window, what was said last; in the order in which it is asked for: the windows of one number together, month
-- by month, so that a night changes the last months alone.
with ranked as (

    select
        *,
        {{ days_between('window_start', 'window_end') }} + 1 as window_days,
        case when status in ('ok', 'warn', 'alert') then 1 else 0 end as is_final,
        row_number() over (
            partition by model, version, role, family, metric, subject, segment, window_start, window_end
            order by as_of desc
        ) as place
    from {{ source('store', 'metrics') }}

)

select
    model, version, role, family, metric, subject, segment, window_days, window_start, window_end, as_of,
    value, lower, upper, rows, labeled_rows, baseline, reference, status, error_bound, is_final, run_id
from ranked
where place = 1
order by
    model, date_trunc('month', window_end), family, metric, subject, segment, version, role, window_days, window_start
