-- Intake: who may publish, the cases that exist, and every event received, before and after it stands in the log.
create schema intake;

-- An API key stands for one source of one tenant. Only its hash is kept; two may be alive while one replaces the other.
create table intake.publishers (
    tenant text not null,
    source text not null,
    key_sha256 bytea not null,
    primary key (tenant, source, key_sha256)
);
create unique index on intake.publishers (key_sha256);

-- A case as intake knows it. It has an owner and a receipt number from its opening on; before that, facts wait.
create table intake.cases (
    tenant text not null,
    case_id text not null,
    owner text,
    receipt text,
    subject_ref text,
    notify_by text,
    language text,
    primary key (tenant, case_id)
);
create sequence intake.receipt_numbers;

-- One row per event ever taken in. Times are microseconds since 1970-01-01T00:00:00Z. bodies are the exact bytes of
-- each copy, holding references only; place is that of the first copy in its batch, counted from 0.
create table intake.reservations (
    tenant text not null,
    source text not null,
    id text not null,
    type text not null,
    case_id text not null,
    officer text,
    person uuid,
    content_hash bytea,
    occurred bigint not null,
    recorded bigint not null,
    subjects text[] not null,
    bodies bytea[] not null,
    subject_ref text,
    waited boolean not null,
    arrival bigint generated always as identity,
    refusal text,
    instance text,
    batch bigint,
    place integer,
    primary key (tenant, source, id)
);
comment on column intake.reservations.person is
    'The person whose key made content_hash; empty: the tenant''s key did. content_hash is empty once erased.';
create index reservations_batch on intake.reservations (instance, batch);
create index reservations_waiting on intake.reservations (tenant, case_id, arrival)
    where instance is null and refusal is null;
create index reservations_faults on intake.reservations (tenant, case_id, id) where type = 'fault.reported';

-- One row per atomic batch. marker_sequence is known once the log has acknowledged it; the copy at a place stands at
-- sequence marker_sequence - count + place.
create table intake.batches (
    instance text not null,
    number bigint not null,
    count integer not null,
    marker_sequence bigint,
    primary key (instance, number)
);
create index batches_open on intake.batches (instance) where marker_sequence is null;

create view read.event_fate as
select
    r.tenant, r.source, r.id, r.type, r.case_id as "case", c.receipt, r.occurred, r.recorded, r.refusal,
    b.marker_sequence - b.count + r.place as sequence,
    case
        when r.refusal is not null then 'refused'
        when b.marker_sequence is not null then 'accepted'
        when r.instance is null then 'waiting'
        else 'pending'
    end as status
from intake.reservations r
left join intake.cases c using (tenant, case_id)
left join intake.batches b on b.instance = r.instance and b.number = r.batch;
comment on view read.event_fate is
    'What became of each event, by tenant, source and id. refused: by intake, with the code; the law''s refusals are on SLA.';

create view read.subject_refs as
select
    c.tenant, c.case_id as "case", c.owner as source, c.receipt, c.subject_ref, c.notify_by, c.language,
    s.name is not null as has_name, s.address is not null as has_address, s.phone is not null as has_phone,
    s.mobile is not null as has_mobile, s.email is not null as has_email
from intake.cases c
left join vault.subjects s using (tenant, subject_ref)
where c.owner is not null;
comment on view read.subject_refs is 'Each open or closed case: its owner, receipt number and newest subject_ref.';
