-- The chassis: the stepped clock (one row that every process reads), and the schema of views that others may read.

create table chassis.clock (
    one boolean primary key default true check (one),
    now bigint not null
);
comment on table chassis.clock is
    'The stepped clock of demonstrations and tests: microseconds since 1970-01-01T00:00:00Z. Unused on the real clock.';
insert into chassis.clock (now) values (0);

create schema read;
comment on schema read is 'Views that other services and people may read, kept like a contract.';

create table chassis.leases (
    name text primary key,
    generation bigint not null
);
comment on table chassis.leases is
    'How often each piece of work has changed hands; every transaction of the work carries the generation it was given.';
