{{ config(meta={'dagster': {'ref': {'name': 'label_facts'}}}) }}
{%- set facts, ids = ref('label_facts'), ref('crowded_ids') %}
{%- set said_before = lake(
    'label_facts', 'select arrival_date from ' ~ ref('touched_nights') ~ " where source = 'facts' and " ~ in_lake('label_facts')
) %}

-- A night says a thing once, and the facts of a prediction sum up to one label that is believed, or to none. Asked are
-- the crowded ids, with what earlier nights said of them: of the others there is one fact at most.
select prediction_id, version, role, sum(sign) as believed, count(*) as facts
from (

    select prediction_id, version, role, arrival_date, sign from {{ facts }}
    {%- if said_before %}
    union all
    select prediction_id, version, role, arrival_date, sign from {{ said_before }}
    {%- endif %}

) as facts
where {{ row_key(['prediction_id']) }} in (select number from {{ ids }})
group by prediction_id, version, role
having sum(sign) not in (0, 1) or count(*) <> count(distinct {{ row_key(['arrival_date', 'sign']) }})
