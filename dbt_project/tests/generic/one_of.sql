{# Only these values in a column, on the nights being built. #}
{% test one_of(model, column_name, values) %}
select * from {{ model }}
where {{ tonight() }}
    and cast({{ column_name }} as {{ dbt.type_string() }}) not in ('{{ values | join("', '") }}')
{% endtest %}
