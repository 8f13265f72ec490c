{# What every materialization here does with its statement: hooks around it, and all in one transaction. #}
{% macro materialized(relation, statement_of_model) %}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {% call statement('main') -%} {{ statement_of_model }} {%- endcall %}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {{ adapter.commit() }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [relation]}) }}
{% endmacro %}

{# A table to which each build adds its nights, once what it said of them before is forgotten. dbt's own incremental
   models write every row twice. A table of other columns is no concern: the warehouse is then made anew. #}
{% materialization nightly, default %}
  {%- set target_relation = this.incorporate(type='table') -%}
  {%- set existing = load_cached_relation(this) -%}
  {%- set statement_of_model -%}
    {% if existing is none %}
      {{ create_table_as(False, target_relation, sql) }}
    {% else %}
      delete from {{ target_relation }} where arrival_date in (select arrival_date from {{ run_table('nights') }});
      insert into {{ target_relation }} {{ sql }}
    {% endif %}
  {%- endset -%}
  {{ return(materialized(target_relation, statement_of_model)) }}
{% endmaterialization %}

{# A Parquet file that MLOBS_FACTS names, and a view of it: what is published as a file needs no table before. #}
{% materialization parquet_file, adapter='duckdb' %}
  {%- set target_relation = this.incorporate(type='view') -%}
  {%- set file = env_var('MLOBS_FACTS', '') | replace("'", "''") -%}
  {%- set statement_of_model -%}
    copy ({{ sql }}) to '{{ file }}' (format parquet, compression zstd, compression_level 1, dictionary_size_limit 8192);
    create or replace view {{ target_relation }} as select * from read_parquet('{{ file }}')
  {%- endset -%}
  {{ return(materialized(target_relation, statement_of_model)) }}
{% endmaterialization %}
