-- A ledger that was lost, worked out anew from the logs. The row stands while that lasts: at `began_at` by the clock,
-- with CASES and SLA as long as said, anything that was to go out by then may have gone out.
create table notifier.recovery (
    one boolean primary key default true check (one),
    began_at bigint not null,
    cases bigint not null,
    sla bigint not null
);

-- What NOTICES and RECEIPTS held when it began, so that it is not told a second time: an event's id, a telling's key.
create table notifier.told (
    id text primary key,
    number bigint not null generated always as identity,
    type text,
    key text
);
comment on table notifier.told is 'Empty but for the time of a recovery.';
