{# A table that Python writes before each build. The nights are data, not dbt variables: a changed variable
   would make dbt parse the whole project again. #}
{% macro run_table(name) -%}
  {{ adapter.dispatch('run_table', 'mlobs')(name) }}
{%- endmacro %}

{% macro default__run_table(name) -%}
  {{ api.Relation.create(database=target.database, schema=target.schema, identifier='run_' ~ name) }}
{%- endmacro %}

{% macro spark__run_table(name) -%}
  {{ spark__parquet_folder(env_var('MLOBS_JOIN', '') ~ '/run_' ~ name) }}
{%- endmacro %}

{# What the embedded engine keeps of all nights in its warehouse, built night by night. Spark keeps nothing: it reads the
   lake's narrow columns anew, many files at once. #}
{% macro index() -%}
  {{ config(materialized='nightly' if target.type == 'duckdb' else 'view') }}
{%- endmacro %}

{# A condition for what an index takes in. #}
{% macro indexed() -%}
  {{ adapter.dispatch('indexed', 'mlobs')() }}
{%- endmacro %}

{% macro default__indexed() -%} arrival_date in (select arrival_date from {{ ref('nights') }}) {%- endmacro %}

{% macro spark__indexed() -%} true {%- endmacro %}

{# A condition for tests: they look at the nights being built, not at all that was ever stored. #}
{% macro tonight(column='arrival_date') -%}
  {{ column }} in (select arrival_date from {{ run_table('nights') }})
{%- endmacro %}

{# After label_facts is built, and in the same transaction: the nights are built, from these files of the lake. #}
{% macro remember_nights() -%}
  {{ adapter.dispatch('remember_nights', 'mlobs')() }}
{%- endmacro %}

{% macro default__remember_nights() -%}
  insert into {{ api.Relation.create(database=target.database, schema=target.schema, identifier='built_nights') }}
  select arrival_date, files from {{ run_table('nights') }} where files is not null
{%- endmacro %}

{% macro spark__remember_nights() -%} {%- endmacro %}

{# Where Spark's tables are for the length of a build. #}
{% macro spark__location_clause() -%}
  location '{{ (env_var('MLOBS_JOIN', '') ~ '/' ~ model['alias']) | replace("\\", "\\\\") | replace("'", "\\'") }}'
{%- endmacro %}

{% macro spark__file_format_clause() -%} using parquet {%- endmacro %}
