with ranked as (

    select
        *,
        row_number() over (
            partition by model, version, role, family, metric, subject, segment, window_days
            order by is_final desc, window_end desc
        ) as place
    from {{ ref('known_metrics') }}

)

select
    model, version, role, family, metric, subject, segment, window_days, window_start, window_end, as_of,
    value, lower, upper, rows, labeled_rows, baseline, reference, status, error_bound, is_final, run_id
from ranked
where place = 1
