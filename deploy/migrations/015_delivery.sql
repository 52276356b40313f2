-- Delivery: by which gateway an attempt went, how the gateway names it, and when it is asked what became of it.
alter table notifier.attempts add column gateway text;
alter table notifier.attempts add column ref text;
alter table notifier.attempts add column ask_at bigint;
alter table notifier.attempts add column asked smallint not null default 0;
create index attempts_to_ask on notifier.attempts (gateway, ask_at) where ask_at is not null;

-- How often a message that a gateway had taken came back undelivered.
alter table notifier.notices add column returned smallint not null default 0;

-- What gateways and mail servers told by themselves, until the holder of the lease has told it on. An attempt of 0 is
-- the last one by that means.
create table notifier.reports (
    number  bigint   primary key generated always as identity,
    key     text     not null,
    means   text     not null,
    attempt smallint not null,
    found   text     not null check (found in ('delivered', 'undelivered')),
    code    text     not null,
    unique (key, means, attempt, found)
);

-- Many readings of one transaction at once. The heads of the chains are locked in one order, whoever reads.
create function vault.record_accesses(
    in_reader text, in_tenants text[], in_purposes text[], in_kinds text[], in_refs text[])
returns void language plpgsql as $$
declare
    head vault.access_head;
    instant timestamptz;
    name text;
    places bigint[];
    i bigint;
begin
    for name, places in
        select w.tenant, array_agg(w.place order by w.place)
        from unnest(in_tenants) with ordinality as w (tenant, place) group by w.tenant order by w.tenant
    loop
        insert into vault.access_head values (name, 0, '\x') on conflict do nothing;
        select * into head from vault.access_head where tenant = name for update;
        foreach i in array places loop
            instant := clock_timestamp();
            head.number := head.number + 1;
            head.hash := vault.access_hash(
                head.hash, name, head.number, instant, in_reader, in_purposes[i], in_kinds[i], in_refs[i]);
            insert into vault.access values (
                name, head.number, instant, in_reader, in_purposes[i], in_kinds[i], in_refs[i], head.hash);
        end loop;
        update vault.access_head set number = head.number, hash = head.hash where tenant = name;
    end loop;
end
$$;
