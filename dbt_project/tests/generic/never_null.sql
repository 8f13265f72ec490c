{# No null in any of the columns, on the nights being built. One scan however many columns. #}
{% test never_null(model, columns) %}
select * from {{ model }}
where {% if 'arrival_date' in columns %}({{ tonight() }} or arrival_date is null)
    and {% endif %}({% for column in columns %}{{ column }} is null{% if not loop.last %} or {% endif %}{% endfor %})
{% endtest %}
