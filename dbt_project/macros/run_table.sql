{# A table that Python writes before each build. The nights are data, not dbt variables: a changed variable
   would make dbt parse the whole project again. #}
{% macro run_table(name) -%}
  {{ api.Relation.create(database=target.database, schema=target.schema, identifier='run_' ~ name) }}
{%- endmacro %}

{# A condition for tests: they look at the nights being built, not at all that was ever stored. #}
{% macro tonight(column='arrival_date') -%}
  {{ column }} in (select arrival_date from {{ run_table('nights') }})
{%- endmacro %}

{# After label_facts is built, and in the same transaction: the nights are built, from these files of the lake. #}
{% macro remember_nights() -%}
  insert into {{ api.Relation.create(database=target.database, schema=target.schema, identifier='built_nights') }}
  select arrival_date, files from {{ run_table('nights') }} where files is not null
{%- endmacro %}
