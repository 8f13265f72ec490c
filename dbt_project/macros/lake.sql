{# The rows of one of the lake's tables, all nights: one Parquet file a night, all with the columns the join reads. #}
{% macro lake(table) -%}
  {%- do source('lake', table) -%}
  {{ adapter.dispatch('parquet_folder', 'mlobs')(env_var('MLOBS_LAKE', '') ~ '/' ~ table) }}
{%- endmacro %}

{% macro default__parquet_folder(folder) -%}
  read_parquet('{{ (folder ~ "/*.parquet") | replace("'", "''") }}')
{%- endmacro %}

{% macro spark__parquet_folder(folder) -%}
  parquet.`{{ folder | replace("`", "``") }}`
{%- endmacro %}
