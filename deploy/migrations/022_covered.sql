-- A remedy whose incident was paid for under another name: covered by that payment, and neither payable nor owed.

alter table notifier.tasks drop constraint tasks_state_check;
alter table notifier.tasks add constraint tasks_state_check check (state in
    ('held', 'assigned', 'done', 'approved', 'declined', 'issued', 'acknowledged', 'withdrawn', 'kept', 'covered'));
alter table notifier.tasks
    add column covered_by text,
    add column proposed_by bigint,
    add column withdrawn_by bigint;
comment on column notifier.tasks.covered_by is 'The key of the remedy whose payment covers it, or covered it until it was withdrawn.';
comment on column notifier.tasks.proposed_by is 'The sequence in CASES of what last brought the remedy; withdrawn_by: of what last took it back.';

alter table notifier.steps drop constraint steps_step_check;
alter table notifier.steps add constraint steps_step_check check (step in
    ('entered', 'approved', 'declined', 'issued', 'acknowledged', 'done', 'separated'));

alter table notifier.book drop constraint book_entry_check;
alter table notifier.book add constraint book_entry_check check (entry in
    ('proposed', 'entered', 'withdrawn', 'declined', 'issued', 'covered', 'separated'));
alter table notifier.book drop constraint book_debit_check;
alter table notifier.book add constraint book_debit_check check (debit in
    ('charter', 'open', 'paid', 'declined', 'withdrawn', 'covered'));
alter table notifier.book drop constraint book_credit_check;
alter table notifier.book add constraint book_credit_check check (credit in
    ('charter', 'open', 'paid', 'declined', 'withdrawn', 'covered'));

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
        ], null) as wants,
        case state when 'covered' then covered_by end as covered_by
    from notifier.tasks;
comment on view read.tasks is
    'What somebody of the municipality must do; remedy: the clause that wants it. open: still to be done, wants: what an approver must say first, due: by when it is to be done (of a remedy: found), overdue_at: when that was told as missed, covered_by: the key of the remedy whose payment covers it.';

comment on view read.book is 'Every movement of money: accounts charter, open, paid, declined, withdrawn and covered.';

create or replace view read.remedy_sums as
    select
        tenant, department, remedy, promise, currency, month,
        proposed, withdrawn, declined, proposed - withdrawn - declined - covered as owed, paid,
        proposed - withdrawn - declined - covered - paid as open, covered
    from (
        select
            tenant, department, remedy, promise, currency, date_trunc('month', day)::date as month,
            sum(case 'charter' when credit then amount when debit then -amount else 0 end)::bigint as proposed,
            sum(case 'withdrawn' when debit then amount when credit then -amount else 0 end)::bigint as withdrawn,
            sum(case 'declined' when debit then amount when credit then -amount else 0 end)::bigint as declined,
            sum(case 'paid' when debit then amount when credit then -amount else 0 end)::bigint as paid,
            sum(case 'covered' when debit then amount when credit then -amount else 0 end)::bigint as covered
        from read.book
        group by tenant, department, remedy, promise, currency, month
    ) as moved;
comment on view read.remedy_sums is
    'Money moved by city, department, clause, promise and month of the movement: owed = proposed - withdrawn - declined - covered, open = owed - paid.';

create or replace view read.remedy_outcomes as
select
    t.tenant, t.remedy_key as key, t.remedy, coalesce(min(s.at), t.wanted_at) as at,
    (array_agg(s.step order by s.number desc) filter (where s.step in ('entered', 'approved', 'declined', 'issued')))[1]
        is not distinct from 'declined' as declined,
    (array_agg(s.amount order by s.number desc) filter (where s.step in ('entered', 'approved')))[1] as approved,
    (array_agg(s.amount order by s.number desc) filter (where s.step = 'issued'))[1] as paid,
    t.state = 'covered' as covered
from read.tasks t left join read.task_steps s on s.key = t.key
where t.remedy_key is not null and (s.key is not null or t.state = 'covered')
group by t.tenant, t.remedy_key, t.remedy, t.state, t.wanted_at;
comment on view read.remedy_outcomes is
    'What became of each remedy of which somebody said or did anything, or that a payment under another name covers: at is when that was first.';

comment on view read.case_remedies is
    'What a case is owed. payment: held, assigned (it waits for a finding, an amount or an approval), approved, declined, issued, acknowledged, kept (issued, then withdrawn), covered (paid already under another name), or empty.';
