{# A 64-bit number that stands for some columns: comparing millions of long keys costs far more. #}
{% macro row_key(columns) -%}
  {{ adapter.dispatch('row_key', 'mlobs')(columns) }}
{%- endmacro %}

{% macro default__row_key(columns) -%} hash({{ columns | join(', ') }}) {%- endmacro %}

{% macro spark__row_key(columns) -%} xxhash64({{ columns | join(', ') }}) {%- endmacro %}
