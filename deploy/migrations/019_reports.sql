-- What reports are counted from: every case as its bytes, since a whole city is read at once.
create view read.case_standings as
select tenant, case_id as "case", state as standing from sla_timer.cases;
comment on view read.case_standings is 'Each case with its facts, deadlines and findings, as the bytes of one JSON document.';

-- What people said and did of each remedy: the amount last entered or approved, and the one that was issued.
create view read.remedy_outcomes as
select
    t.tenant, t.remedy_key as key, t.remedy, min(s.at) as at,
    (array_agg(s.step order by s.number desc) filter (where s.step in ('entered', 'approved', 'declined', 'issued')))[1]
        is not distinct from 'declined' as declined,
    (array_agg(s.amount order by s.number desc) filter (where s.step in ('entered', 'approved')))[1] as approved,
    (array_agg(s.amount order by s.number desc) filter (where s.step = 'issued'))[1] as paid
from read.tasks t join read.task_steps s on s.key = t.key
where t.remedy_key is not null
group by t.tenant, t.remedy_key, t.remedy;
comment on view read.remedy_outcomes is
    'What became of each remedy of which somebody said or did anything: at is when that was first.';
