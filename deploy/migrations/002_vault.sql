-- The vault: personal data, sealed before it reaches PostgreSQL, and the record of who read it.
-- Nothing in these tables can be read without the master key, which is never kept in the database.
create schema vault;

-- The tenant's own keys, wrapped by the master key: one seals what belongs to no person, one feeds the blind index.
create table vault.tenants (
    tenant text primary key,
    seal_key bytea not null,
    index_key bytea not null
);

-- One data key per person and tenant, wrapped by the master key. Deleting the row makes the person unreadable.
create table vault.people (
    tenant text not null,
    person uuid not null,
    data_key bytea not null,
    primary key (tenant, person)
);

-- Keyed digests of (name, number) or (name, address): the same person is found again without being readable.
create table vault.blind_index (
    tenant text not null,
    digest bytea not null,
    person uuid not null,
    primary key (tenant, digest)
);
create index on vault.blind_index (tenant, person);

-- A subject_ref is what events carry. Each belongs to one person; what a fact told of that person is sealed here.
create table vault.subjects (
    tenant text not null,
    subject_ref text not null,
    person uuid not null,
    name bytea,
    address bytea,
    phone bytea,
    mobile bytea,
    email bytea,
    primary key (tenant, subject_ref)
);
create index on vault.subjects (tenant, person);

-- Free text. person is empty where the text belongs to no person: then the tenant's key seals it.
create table vault.texts (
    tenant text not null,
    text_ref text not null,
    person uuid,
    sealed bytea not null,
    primary key (tenant, text_ref)
);
create index on vault.texts (tenant, person);

create table vault.staff (
    tenant text not null,
    staff text not null,
    data_key bytea not null,
    name bytea,
    phone bytea,
    email bytea,
    primary key (tenant, staff)
);

-- One key per refused letter; the sealed letter itself lies in the stream DEAD.
create table vault.letters (
    tenant text not null,
    letter text not null,
    data_key bytea not null,
    primary key (tenant, letter)
);

-- Who read whose data, why and when. Each record carries the hash of the one before it.
create table vault.access (
    tenant text not null,
    number bigint not null,
    at timestamptz not null,
    reader text not null,
    purpose text not null,
    kind text not null,
    ref text not null,
    hash bytea not null,
    primary key (tenant, number)
);

create table vault.access_head (
    tenant text primary key,
    number bigint not null,
    hash bytea not null
);

create function vault.access_hash(
    previous bytea, tenant text, number bigint, at timestamptz, reader text, purpose text, kind text, ref text
) returns bytea language sql immutable as $$
    select sha256(previous || convert_to(
        jsonb_build_array(tenant, number, extract(epoch from at)::text, reader, purpose, kind, ref)::text, 'UTF8'))
$$;

-- The time of an access is the database's true time and never the stepped clock: it is evidence, and no decision
-- reads it.
create function vault.record_access(in_tenant text, in_reader text, in_purpose text, in_kind text, in_ref text)
returns void language plpgsql as $$
declare
    head vault.access_head;
    instant timestamptz;
begin
    insert into vault.access_head values (in_tenant, 0, '\x') on conflict do nothing;
    select * into head from vault.access_head where tenant = in_tenant for update;
    instant := clock_timestamp();
    head.number := head.number + 1;
    head.hash := vault.access_hash(
        head.hash, in_tenant, head.number, instant, in_reader, in_purpose, in_kind, in_ref);
    insert into vault.access values (
        in_tenant, head.number, instant, in_reader, in_purpose, in_kind, in_ref, head.hash);
    update vault.access_head set number = head.number, hash = head.hash where tenant = in_tenant;
end
$$;

create function vault.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the access record is append-only';
end
$$;

create trigger append_only before update or delete or truncate on vault.access
    for each statement execute function vault.refuse_change();
