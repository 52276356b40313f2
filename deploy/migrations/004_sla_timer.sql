-- sla_timer: the projection of CASES. Instants are microseconds since 1970-01-01T00:00:00Z. Everything here can be
-- worked out again from the log.
create schema sla_timer;

-- One row per partition: how far it is folded, its clock, and how many decisions it has numbered. Every transaction of
-- the fold updates it where generation and sequence are still the ones it read, so that a second folder changes nothing.
create table sla_timer.partitions (
    partition smallint primary key,
    generation bigint not null default 0,
    sequence bigint not null default 0,
    event_id text,
    stream_id text,
    clock bigint not null default 0,
    tick_sequence bigint not null default 0,
    ticks bigint not null default 0,
    decisions bigint not null default 0
);
comment on column sla_timer.partitions.event_id is 'Id of the event at `sequence`: whether the log is still the one that was folded.';
comment on column sla_timer.partitions.stream_id is 'The own id of the stream CASES, for the same reason.';
insert into sla_timer.partitions (partition) select generate_series(0, 15);

-- A case with its facts and standing, as one JSON document. next_at is the earliest instant at which time alone changes it.
create table sla_timer.cases (
    tenant text not null,
    case_id text not null,
    partition smallint not null,
    state bytea not null,
    closed boolean not null,
    stuck boolean not null,
    open_deadlines integer not null,
    next_at bigint,
    primary key (tenant, case_id)
);
create index cases_next on sla_timer.cases (partition, next_at) where next_at is not null;
create index cases_stuck on sla_timer.cases (partition) where stuck;

-- Every decision, numbered 1, 2, 3 ... in its partition (`lane`): the outbox of SLA, and what was decided.
create table sla_timer.decisions (
    lane smallint not null,
    number bigint not null,
    subject text not null,
    body bytea not null,
    tenant text not null,
    case_id text not null,
    kind text not null,
    promise text,
    occurrence text,
    due bigint,
    at bigint not null,
    cause_sequence bigint not null,
    primary key (lane, number)
);
create index decisions_case on sla_timer.decisions (tenant, case_id);

create table sla_timer.relay (
    lane smallint primary key,
    sent bigint not null,
    chain bytea not null,
    marker_sequence bigint not null
);

-- The events that enact rules, kept so that a start need not read the log from its beginning.
create table sla_timer.enacted (
    partition smallint not null,
    sequence bigint not null,
    body bytea not null,
    primary key (partition, sequence)
);

create view read.fold_position as
select
    p.partition, p.sequence, p.clock,
    (select min(c.next_at) from sla_timer.cases c where c.partition = p.partition) as next_at,
    p.decisions, coalesce(r.sent, 0) as sent
from sla_timer.partitions p left join sla_timer.relay r on r.lane = p.partition;
comment on view read.fold_position is
    'Per partition: the last CASES sequence folded, its clock, its next instant, decisions numbered and decisions sent.';

create view read.decisions as
select lane as partition, number, tenant, case_id as "case", kind, promise, occurrence, due, at, cause_sequence
from sla_timer.decisions;

create view read.cases as
select tenant, case_id as "case", closed, stuck, next_at, convert_from(state, 'UTF8')::jsonb as standing
from sla_timer.cases;
comment on view read.cases is 'Each case with its facts, deadlines and findings.';
