{# The rows of one of the lake's tables, of the nights that a query names: one Parquet file a night, all with the columns
   the join reads. Asked when the model is built, so that a night costs the files it needs, not all there are. Nothing
   where there are none of the nights. #}
{% macro lake(table, nights) -%}
  {%- if table != 'label_facts' -%} {#- those are made here -#} {%- do source('lake', table) -%} {%- endif -%}
  {%- set dates = [] -%}
  {%- if execute -%}
    {%- call statement('nights_of_' ~ table, fetch_result=True) -%}
      select distinct cast(arrival_date as {{ dbt.type_string() }}) as night from ({{ nights }}) as nights
      where arrival_date not in (select arrival_date from {{ run_table('nights') }} where files is null)
      order by night
    {%- endcall -%}
    {%- for row in load_result('nights_of_' ~ table)['data'] -%} {%- do dates.append(row[0]) -%} {%- endfor -%}
  {%- endif -%}
  {%- set folder = env_var('MLOBS_LAKE', '') ~ '/' ~ table if execute else '' -%}
  {{ return(adapter.dispatch('parquet_files', 'mlobs')(folder, dates) if dates else '') }}
{%- endmacro %}

{% macro default__parquet_files(folder, dates) -%}
  read_parquet([{% for date in dates %}'{{ folder | replace("'", "''") }}/{{ date }}.parquet'{{ ', ' if not loop.last }}{% endfor %}])
{%- endmacro %}

{% macro spark__parquet_folder(folder) -%}
  parquet.`{{ folder | replace("`", "``") }}`
{%- endmacro %}

{% macro spark__parquet_files(folder, dates) -%}
  parquet.`{{ folder | replace("`", "``") }}/{% raw %}{{% endraw %}{{ dates | join(',') }}{% raw %}}{% endraw %}.parquet`
{%- endmacro %}

{# A condition on nights: the lake has that night's file of a table. #}
{% macro in_lake(table) -%}
  {{ return(adapter.dispatch('in_lake', 'mlobs')(table)) }}
{%- endmacro %}

{% macro default__in_lake(table) -%}
  cast(arrival_date as varchar) in (
    select parse_filename(file, true) from glob('{{ (env_var('MLOBS_LAKE', '') ~ '/' ~ table) | replace("'", "''") }}/*.parquet')
  )
{%- endmacro %}

{# Spark cannot list files without opening them: Python did. #}
{% macro spark__in_lake(table) -%}
  arrival_date in (select arrival_date from {{ run_table('stored_' ~ table) }})
{%- endmacro %}

{# What the indexes take in: of the nights being built, or, where no index is kept, of all nights. #}
{% macro arrivals(table) -%}
  {{ return(adapter.dispatch('arrivals', 'mlobs')(table)) }}
{%- endmacro %}

{% macro default__arrivals(table) -%}
  {{ return(lake(table, 'select arrival_date from ' ~ run_table('nights'))) }}
{%- endmacro %}

{% macro spark__arrivals(table) -%}
  {%- do source('lake', table) -%}
  {{ return(spark__parquet_folder(env_var('MLOBS_LAKE', '') ~ '/' ~ table)) }}
{%- endmacro %}
