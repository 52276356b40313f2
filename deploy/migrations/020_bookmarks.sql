-- How far a case was read, beside it: with this one that no process holds in its memory is read on, and not read from
-- its first fact. Absent or of other rules, or not of the state that stands beside it, it is worth nothing.
alter table sla_timer.cases add column bookmark bytea;

-- What an enacting event reaches is read slice by slice, in this order.
create index cases_open on sla_timer.cases (partition, tenant, case_id collate "C") where not closed or next_at is not null;

comment on column sla_timer.cases.bookmark is 'The CRC-32 of `state`, and where the reading of the case stands (services/rules/bookmark.py).';
