{# Each key once among all rows, asked of the keys of the nights being built. Two keys may share a number by chance,
   so the rows behind a number that comes twice are compared themselves. #}
{% test unique_together(model, columns) %}
with numbered as (

    select {{ columns | join(', ') }}, {{ row_key(columns) }} as number, {{ tonight() }} as is_tonight from {{ model }}

),

suspects as (

    select number from numbered group by number having count(*) > 1 and max(case when is_tonight then 1 else 0 end) = 1

)

select {{ columns | join(', ') }}, count(*) as times
from numbered
where number in (select number from suspects)
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}
