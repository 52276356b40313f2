-- The desk: who is signed in. A cookie's value is nowhere but in the browser; here stands its SHA-256. Instants are
-- microseconds since 1970-01-01T00:00:00Z of the machine's own clock, also where cases' time is stepped.
create table notifier.desk_sessions (
    digest bytea primary key,
    tenant text not null,
    staff text not null,
    roles text[] not null,
    department text not null,
    begun bigint not null,
    seen bigint not null
);
create index on notifier.desk_sessions (begun);

-- The desk lists what is to be done by when; what has no date comes last.
create index tasks_desk on notifier.tasks (tenant, coalesce(due, 9223372036854775807), wanted_at, key);
