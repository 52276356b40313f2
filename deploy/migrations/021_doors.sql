-- What the owner of a case may not hear of, for the cases that the ledger has already: faults that it did not report
-- itself, and what takes them back. From here on the fold adds them.
with faults as (
    select r.tenant, r.case_id, r.source || '/' || r.id as key, r.arrival
    from notifier.cases c join intake.reservations r using (tenant, case_id)
    where r.type like 'fault.%' and r.refusal is null and r.source <> c.view ->> 'owner'
), voids as (
    select v.tenant, v.case_id, v.source || '/' || v.id as key, v.arrival
    from intake.reservations v join faults f using (tenant, case_id)
    where v.type = 'fact.voided' and v.refusal is null
        and convert_from(v.bodies[1], 'UTF8')::jsonb -> 'data'
            @> jsonb_build_object('source', split_part(f.key, '/', 1), 'id', split_part(f.key, '/', 2))
), unheard as (
    select tenant, case_id, jsonb_agg(key order by arrival) as keys
    from (select * from faults union select * from voids) as both_kinds group by tenant, case_id
)
update notifier.cases c set view = c.view || jsonb_build_object('unheard', u.keys)
from unheard u where u.tenant = c.tenant and u.case_id = c.case_id;

-- How much of the ledger of erasures intake has carried out itself. Whoever opens the vault first carries the vault's part
-- out, and that may be the notifier, which has no rights here. Begun anew: what was carried out may be carried out again.
create table intake.erasures (
    one boolean primary key default true check (one),
    lines bigint not null default 0,
    digest text not null default ''
);
