-- Master keys by date: each wrapped key says in its first ten bytes which master key opens it. Those from before are
-- opened by the one that was there alone.
update vault.tenants set seal_key = '1970-01-01'::bytea || seal_key, index_key = '1970-01-01'::bytea || index_key;
update vault.people set data_key = '1970-01-01'::bytea || data_key;
update vault.staff set data_key = '1970-01-01'::bytea || data_key;
update vault.letters set data_key = '1970-01-01'::bytea || data_key;

-- What a row belongs to, and whether only the purposes that may read what is confidential open it.
alter table vault.subjects add column case_id text, add column confidential boolean not null default false;
alter table vault.texts add column case_id text, add column confidential boolean not null default false;
update vault.subjects s set case_id = r.case_id
    from intake.reservations r where r.tenant = s.tenant and r.subject_ref = s.subject_ref;
update vault.texts t set case_id = told.case_id
    from (select r.tenant, r.case_id, named[1] as text_ref
          from intake.reservations r, regexp_matches(convert_from(r.bodies[1], 'UTF8'), '"(t[0-9a-f]{24})"', 'g') named) told
    where t.tenant = told.tenant and t.text_ref = told.text_ref;
create index on vault.subjects (tenant, case_id);
create index on vault.texts (tenant, case_id);

-- Keyed digests of telephone numbers: whom a caller's number belongs to. A number may be that of several people.
create table vault.numbers (
    tenant text not null,
    digest bytea not null,
    person uuid not null,
    primary key (tenant, digest, person)
);
create index on vault.numbers (tenant, person);

-- How much of the ledger of erasures (a file beside the master keys) this vault has carried out. A vault that was put
-- back from a backup has an older number here, and carries out the rest before it opens.
create table vault.erasures (
    one boolean primary key default true check (one),
    lines bigint not null default 0,
    digest text not null default ''
);

alter table intake.cases add column confidential boolean not null default false;
comment on column intake.cases.confidential is 'A report of corruption or a grievance about the office: who reports stays sealed from it.';

create or replace view read.subject_refs as
select
    c.tenant, c.case_id as "case", c.owner as source, c.receipt, c.subject_ref, c.notify_by, c.language,
    s.name is not null as has_name, s.address is not null as has_address, s.phone is not null as has_phone,
    s.mobile is not null as has_mobile, s.email is not null as has_email, c.confidential
from intake.cases c
left join vault.subjects s using (tenant, subject_ref)
where c.owner is not null;
