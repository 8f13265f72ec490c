-- Summed up to any night, a prediction's facts say that one label is believed, or none.
with running as (

    select
        prediction_id,
        version,
        role,
        sum(sign) over (partition by prediction_id, version, role order by arrival_date) as believed
    from {{ ref('label_facts') }}
    where prediction_id in (select prediction_id from {{ ref('label_facts') }} where {{ tonight() }})

)

select * from running where believed not in (0, 1)
