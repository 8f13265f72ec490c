{# Each key once among all rows, asked of the keys of the nights being built. #}
{% test unique_together(model, columns, within='prediction_id') %}
select {{ columns | join(', ') }}, count(*) as times
from {{ model }}
where {{ within }} in (select {{ within }} from {{ model }} where {{ tonight() }})
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}
