{% macro days_after(date, days) -%}
  {{ adapter.dispatch('days_after', 'mlobs')(date, days) }}
{%- endmacro %}

{% macro default__days_after(date, days) -%} ({{ date }} + cast({{ days }} as integer)) {%- endmacro %}

{% macro spark__days_after(date, days) -%} date_add({{ date }}, cast({{ days }} as int)) {%- endmacro %}

{% macro days_between(first, last) -%}
  {{ adapter.dispatch('days_between', 'mlobs')(first, last) }}
{%- endmacro %}

{% macro default__days_between(first, last) -%} cast(({{ last }} - {{ first }}) as integer) {%- endmacro %}

{% macro spark__days_between(first, last) -%} datediff({{ last }}, {{ first }}) {%- endmacro %}
