{# Only these values in a column, on the nights being built. #}
{% test one_of(model, column_name, values) %}
select * from {{ model }}
where {{ tonight() }}
    and {{ column_name }} not in ({% for value in values %}{{ value if value is number else "'" ~ value ~ "'" }}{{ ', ' if not loop.last }}{% endfor %})
{% endtest %}
