-- The life of tasks and remedies, every step that a person took in it, and the book of the money owed and paid.
-- Instants are microseconds since 1970-01-01T00:00:00Z. No name, number, address or free text of a person is kept here.

alter table notifier.tasks drop constraint tasks_state_check;
alter table notifier.tasks add constraint tasks_state_check check (state in
    ('held', 'assigned', 'done', 'approved', 'declined', 'issued', 'acknowledged', 'withdrawn', 'kept'));
alter table notifier.tasks
    add column remedy_key text unique,
    add column occurrence text,
    add column charter text,
    add column department text,
    add column lies_with text not null default 'department',
    add column at_fault text[] not null default '{}',
    add column proposed_at bigint,
    add column broken_at bigint,
    add column due bigint,
    add column overdue_at bigint,
    add column finding text check (finding in ('confirmed', 'dismissed')),
    add column finding_by text,
    add column finding_event text;
comment on column notifier.tasks.amount is 'What is owed: the charter''s amount, or the one that an approver entered.';
comment on column notifier.tasks.remedy_key is 'Of the remedy.proposed; empty for a task without money.';
comment on column notifier.tasks.lies_with is 'officer, department, head, audit, approver, or the name of a desk.';
comment on column notifier.tasks.at_fault is 'Staff who may decide nothing here: who had the case, or is named in a report or finding.';
comment on column notifier.tasks.broken_at is 'When the promise was due that was broken.';
comment on column notifier.tasks.finding_event is 'source/id of the fault.confirmed or fault.dismissed.';

update notifier.tasks set remedy_key = tenant || '/' || case_id || '/' || incident || '/' || clause, lies_with = 'approver'
where task = 'compensation';
create index tasks_due on notifier.tasks (due) where due is not null and overdue_at is null;
create index tasks_case on notifier.tasks (tenant, case_id);

-- What people did, one row for each event of theirs on NOTICES. `cause` is the decision under which the task was assigned
-- then: one that was withdrawn and is wanted again begins anew.
create table notifier.steps (
    key text not null,
    number smallint not null,
    cause text not null,
    step text not null check (step in ('entered', 'approved', 'declined', 'issued', 'acknowledged', 'done')),
    staff text not null,
    at bigint not null,
    amount bigint,
    currency text,
    code text,
    voucher text,
    primary key (key, number)
);

-- Double entry: every row moves an amount from one account to another. A remedy begins in `charter` and ends in `paid`,
-- `declined` or `withdrawn`; what stands in `open` is owed and not yet paid. `cause` is the decision or the event that
-- moved it, and moves it once. `day` is a date of the municipality's own time zone.
create table notifier.book (
    number bigint primary key generated always as identity,
    key text not null,
    entry text not null check (entry in ('proposed', 'entered', 'withdrawn', 'declined', 'issued')),
    cause text not null,
    debit text not null check (debit in ('charter', 'open', 'paid', 'declined', 'withdrawn')),
    credit text not null check (credit in ('charter', 'open', 'paid', 'declined', 'withdrawn')),
    amount bigint not null check (amount > 0),
    day date not null,
    unique (key, entry, cause),
    check (debit <> credit)
);
comment on column notifier.book.debit is 'The account that the amount comes to; credit: the one that it leaves.';
insert into notifier.book (key, entry, cause, debit, credit, amount, day)
select key, 'proposed', cause ->> 'id', 'open', 'charter', amount, (to_timestamp(wanted_at / 1000000) at time zone 'UTC')::date
from notifier.tasks where task = 'compensation' and amount > 0;
insert into notifier.book (key, entry, cause, debit, credit, amount, day)
select
    key, case state when 'withdrawn' then 'withdrawn' else 'issued' end, cause ->> 'id',
    case state when 'withdrawn' then 'withdrawn' else 'paid' end, 'open', amount,
    (to_timestamp(wanted_at / 1000000) at time zone 'UTC')::date
from notifier.tasks where task = 'compensation' and amount > 0 and state in ('withdrawn', 'issued', 'kept');

create or replace view read.tasks as
    select
        tenant, case_id as "case", key, incident, clause as remedy, task, promise, officer, state, amount, currency,
        needs, revision, release_at, wanted_at,
        remedy_key, occurrence, charter, department, lies_with, at_fault, proposed_at, broken_at, due, overdue_at,
        finding, finding_by,
        state in ('held', 'assigned', 'approved') as open,
        array_remove(array[
            case when state in ('held', 'assigned') and 'finding' = any(needs) and finding is null then 'finding' end,
            case when state in ('held', 'assigned') and remedy_key is not null and amount is null then 'amount' end
        ], null) as wants
    from notifier.tasks;
comment on view read.tasks is
    'What somebody of the municipality must do; remedy: the clause that wants it. open: still to be done, wants: what an approver must say first, due: by when it is to be done (of a remedy: found), overdue_at: when that was told as missed.';

create view read.tasks_overdue as
    select min(due) filter (where overdue_at is null) + 1 as next_overdue, count(overdue_at) as overdue
    from notifier.tasks
    where due is not null and state = 'assigned' and (remedy_key is null or finding is null);
comment on view read.tasks_overdue is 'When the next task or finding is due that was not told as missed, and how many are missed and still open.';

create view read.task_steps as
    select t.tenant, t.case_id as "case", t.task, s.key, s.number, s.step, s.staff, s.at, s.amount, s.currency, s.code, s.voucher
    from notifier.steps s join notifier.tasks t using (key);
comment on view read.task_steps is 'Who did what with a task or a remedy, and when: each stands on NOTICES.';

create view read.book as
    select
        t.tenant, t.case_id as "case", t.department, t.clause as remedy, t.promise, t.remedy_key, t.currency,
        b.key, b.number, b.entry, b.debit, b.credit, b.amount, b.day
    from notifier.book b join notifier.tasks t using (key);
comment on view read.book is 'Every movement of money: accounts charter, open, paid, declined and withdrawn.';

create view read.remedy_sums as
    select
        tenant, department, remedy, promise, currency, month,
        proposed, withdrawn, declined, proposed - withdrawn - declined as owed, paid,
        proposed - withdrawn - declined - paid as open
    from (
        select
            tenant, department, remedy, promise, currency, date_trunc('month', day)::date as month,
            sum(case 'charter' when credit then amount when debit then -amount else 0 end)::bigint as proposed,
            sum(case 'withdrawn' when debit then amount when credit then -amount else 0 end)::bigint as withdrawn,
            sum(case 'declined' when debit then amount when credit then -amount else 0 end)::bigint as declined,
            sum(case 'paid' when debit then amount when credit then -amount else 0 end)::bigint as paid
        from read.book
        group by tenant, department, remedy, promise, currency, month
    ) as moved;
comment on view read.remedy_sums is
    'Money moved by city, department, clause, promise and month of the movement: owed = proposed - withdrawn - declined, open = owed - paid.';

create or replace view read.case_remedies as
select distinct on (d.tenant, d."case", d.data ->> 'key')
    d.tenant, d."case", d.data ->> 'key' as key, d.data ->> 'remedy' as remedy, d.data ->> 'incident' as incident,
    d.promise, coalesce(t.amount, (d.data ->> 'amount')::bigint) as amount, d.data ->> 'currency' as currency,
    d.kind = 'remedy.withdrawn' as withdrawn, d.at, t.state as payment,
    d.data ->> 'charter' as charter, d.data -> 'cause' as cause
from read.case_decisions d
left join read.tasks t on t.tenant = d.tenant and t."case" = d."case" and t.incident = d.data ->> 'incident'
    and t.remedy = d.data ->> 'remedy' and t.task = 'compensation'
where d.kind in ('remedy.proposed', 'remedy.withdrawn')
order by d.tenant, d."case", d.data ->> 'key', d.number desc;
comment on view read.case_remedies is
    'What a case is owed. payment: held, assigned (it waits for a finding, an amount or an approval), approved, declined, issued, acknowledged, kept (issued, then withdrawn), or empty.';
