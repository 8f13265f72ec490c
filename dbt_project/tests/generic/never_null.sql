{# No null in any of the columns, on the nights being built. One scan however many columns. #}
{% test never_null(model, columns) %}
select * from {{ model }}
where {{ tonight() }}
    and ({% for column in columns %}{{ column }} is null{% if not loop.last %} or {% endif %}{% endfor %})
{% endtest %}
