{# The values of a column that come more than once in some rows. #}
{% macro repeated(column, rows) -%}
  {{ adapter.dispatch('repeated', 'mlobs')(column, rows) }}
{%- endmacro %}

{# By sorting: the embedded engine takes half of what it takes to group as many. #}
{% macro default__repeated(column, rows) -%}
  select distinct {{ column }}
  from (select {{ column }}, lag({{ column }}) over (order by {{ column }}) as before from {{ rows }}) as ascending
  where {{ column }} = before
{%- endmacro %}

{% macro spark__repeated(column, rows) -%}
  select {{ column }} from {{ rows }} group by {{ column }} having count(*) > 1
{%- endmacro %}
