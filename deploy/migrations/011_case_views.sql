-- What people and publishers read of cases: views over the facts that intake took in and the decisions that followed,
-- both in the form of the contract, so that no view depends on how a fold keeps its state. Instants are microseconds
-- since 1970-01-01T00:00:00Z.

create index reservations_case on intake.reservations (tenant, case_id);
create index cases_subject on intake.cases (tenant, subject_ref);
create index cases_receipt on intake.cases (tenant, receipt) where receipt is not null;
comment on index intake.cases_receipt is 'Receipt numbers are given in the order of opening: cases are listed by it.';

-- Keys of the HTTP API: since when, and until when. A revoked one stays, so that it is known whose it was.
alter table intake.publishers add column created bigint;
alter table intake.publishers add column revoked bigint;
comment on column intake.publishers.created is 'Empty: entered by provisioning.';

create view read.case_facts as
select
    r.tenant, r.case_id as "case", r.source, r.id, r.type, r.occurred, r.recorded,
    b.marker_sequence - b.count + r.place as sequence,
    convert_from(r.bodies[1], 'UTF8')::jsonb -> 'data' as data,
    exists (
        select from intake.reservations v
        where v.tenant = r.tenant and v.case_id = r.case_id and v.type = 'fact.voided' and v.refusal is null
            and convert_from(v.bodies[1], 'UTF8')::jsonb -> 'data' @> jsonb_build_object('source', r.source, 'id', r.id)
            -- A taking back can itself be taken back.
            and not exists (
                select from intake.reservations w
                where w.tenant = v.tenant and w.case_id = v.case_id and w.type = 'fact.voided' and w.refusal is null
                    and convert_from(w.bodies[1], 'UTF8')::jsonb -> 'data'
                        @> jsonb_build_object('source', v.source, 'id', v.id)
            )
    ) as voided
from intake.reservations r
join intake.batches b on b.instance = r.instance and b.number = r.batch
where b.marker_sequence is not null;
comment on view read.case_facts is
    'The facts of each case as the log has them, references in the place of personal data; voided: taken back.';

create view read.case_decisions as
select
    d.tenant, d.case_id as "case", d.lane as partition, d.number, d.kind, d.promise, d.occurrence, d.due, d.at,
    d.cause_sequence, convert_from(d.body, 'UTF8')::jsonb -> 'data' as data
from sla_timer.decisions d;
comment on view read.case_decisions is 'What was decided of each case, in the order of `number`.';

-- The newest decision that changes where a run stands says where it stands. A retraction is numbered behind the
-- decision of the same step that says what the run is instead, and speaks alone where the run is merely open again.
create view read.case_deadlines as
select
    tenant, "case", promise, occurrence, started,
    case when last ->> 'kind' <> 'deadline.suspended' then due end as due,
    (extract(epoch from first_due::timestamptz) * 1000000)::bigint as first_due,
    provisional,
    case last ->> 'kind'
        when 'deadline.suspended' then 'suspended'
        when 'deadline.met' then 'met'
        when 'deadline.breached' then case when (last -> 'number')::bigint > coalesce(retracted, 0) then 'broken' else 'open' end
        when 'deadline.voided' then case when last ->> 'reason' = 'lapsed' then 'lapsed' else 'void' end
        else 'open'
    end as state,
    case
        when last ->> 'kind' in ('deadline.met', 'deadline.breached', 'deadline.voided') then (last -> 'at')::bigint
    end as settled,
    charter
from (
    select
        tenant, "case", promise, occurrence,
        min(at) filter (where kind = 'deadline.started') as started,
        (array_agg(due order by number desc) filter (where due is not null))[1] as due,
        (array_agg(data ->> 'first_due' order by number desc) filter (where data ? 'first_due'))[1] as first_due,
        (array_agg(data ? 'provisional' order by number desc))[1] as provisional,
        (array_agg(data ->> 'charter' order by number desc))[1] as charter,
        max(number) filter (where kind = 'breach.retracted') as retracted,
        (array_agg(
            jsonb_build_object('kind', kind, 'number', number, 'at', at, 'reason', data ->> 'reason')
            order by number desc
        ) filter (
            where kind not in ('deadline.moved', 'deadline.warned', 'breach.retracted')
                or kind = 'deadline.moved' and data ->> 'reason' = 'reopened'
        ))[1] as last
    from read.case_decisions
    where kind like 'deadline.%' or kind = 'breach.retracted'
    group by tenant, "case", promise, occurrence
) as runs;
comment on view read.case_deadlines is
    'Each run of a promise: due is when it must be done as things stand, first_due what was told first; settled: when it was met, broken or voided.';

create view read.case_desks as
select
    tenant, "case", coalesce(data ->> 'department', data ->> 'to_department') as department, data ->> 'officer' as officer,
    occurred, sequence
from read.case_facts
where not voided and (
    type in ('complaint.assigned', 'complaint.handed_over', 'call.answered')
    or type = 'complaint.transferred' and data ? 'to_department'
);
comment on view read.case_desks is 'Every department and officer that ever had a case; the newest has it.';

create view read.staff as select tenant, staff, department from notifier.staff;
comment on view read.staff is 'The department of each member of staff who was described.';

create view read.case_remedies as
select distinct on (d.tenant, d."case", d.data ->> 'key')
    d.tenant, d."case", d.data ->> 'key' as key, d.data ->> 'remedy' as remedy, d.data ->> 'incident' as incident,
    d.promise, (d.data ->> 'amount')::bigint as amount, d.data ->> 'currency' as currency,
    d.kind = 'remedy.withdrawn' as withdrawn, d.at,
    (
        select t.state from read.tasks t
        where t.tenant = d.tenant and t."case" = d."case" and t.incident = d.data ->> 'incident'
            and t.remedy = d.data ->> 'remedy' and t.task = 'compensation'
    ) as payment,
    d.data ->> 'charter' as charter, d.data -> 'cause' as cause
from read.case_decisions d
where d.kind in ('remedy.proposed', 'remedy.withdrawn')
order by d.tenant, d."case", d.data ->> 'key', d.number desc;
comment on view read.case_remedies is
    'What a case is owed. payment: held, assigned (somebody approves it), issued, kept (issued, then withdrawn), or empty.';

create view read.case_history as
select
    tenant, "case", sequence, 0::bigint as number, occurred as at, recorded, 'fact' as what, type, source, id, voided,
    null::text as promise, null::text as occurrence, null::bigint as due, data
from read.case_facts
union all
select
    tenant, "case", cause_sequence, number, at, null, 'decision', kind, 'gihan/sla_timer', partition || '-' || number,
    false, promise, occurrence, due, data
from read.case_decisions;
comment on view read.case_history is
    'Facts and decisions of each case. Ordered by sequence and number, a fact stands before what it brought.';

create view read.same_person as
select c.tenant, c.case_id as "case", o.case_id as other
from intake.cases c
join vault.subjects s on s.tenant = c.tenant and s.subject_ref = c.subject_ref
join vault.subjects t on t.tenant = s.tenant and t.person = s.person
join intake.cases o on o.tenant = t.tenant and o.subject_ref = t.subject_ref and o.case_id <> c.case_id;
comment on view read.same_person is
    'Cases of one petitioner. To be read with an access record: that two cases are one person''s is the vault''s to know.';

create view read.case_list as
select
    c.tenant, c.case_id as "case", c.receipt, c.owner as source, c.language, c.notify_by,
    (
        select jsonb_build_object('type', f.type, 'at', f.occurred, 'data', f.data) from read.case_facts f
        where f.tenant = c.tenant and f."case" = c.case_id and f.type in
            ('complaint.received', 'callback.requested', 'visit.arrived', 'call.answered', 'appointment.booked')
        order by f.voided, f.sequence limit 1
    ) as opening,
    (
        select f.data ->> 'kind' from read.case_facts f
        where f.tenant = c.tenant and f."case" = c.case_id and not f.voided and f.data ? 'kind'
            and f.type in ('complaint.received', 'complaint.classified')
        order by f.occurred desc, f.sequence desc limit 1
    ) as kind,
    (
        select jsonb_build_object('department', d.department, 'officer', d.officer) from read.case_desks d
        where d.tenant = c.tenant and d."case" = c.case_id
        order by d.occurred desc, d.sequence desc limit 1
    ) as desk,
    s.closed, s.stuck, s.open_deadlines, s.next_at
from intake.cases c
left join sla_timer.cases s using (tenant, case_id)
where c.owner is not null;
comment on view read.case_list is
    'Every case: the event that opened it, its kind as last classified, the desk it lies on. closed is empty until folded.';
