-- A night says a thing once. Two ids may share a number by chance, so the facts behind one that comes twice are compared.
with suspects as (

    select number
    from {{ ref('label_facts') }}
    where {{ tonight() }}
    group by number, {{ row_key(['version', 'role', 'arrival_date', 'sign']) }}
    having count(*) > 1

)

select prediction_id, version, role, arrival_date, sign, count(*) as times
from {{ ref('label_facts') }}
where {{ tonight() }} and number in (select number from suspects)
group by prediction_id, version, role, arrival_date, sign
having count(*) > 1
