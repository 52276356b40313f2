-- What reports are counted from: every case as its bytes, since a whole city is read at once.
create view read.case_standings as
select tenant, case_id as "case", state as standing from sla_timer.cases;
comment on view read.case_standings is 'Each case with its facts, deadlines and findings, as the bytes of one JSON document.';
