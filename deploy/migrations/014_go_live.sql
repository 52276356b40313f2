-- Since when each municipality is live: deadlines that were past before are shown, never messaged and never paid.
-- Microseconds since 1970-01-01T00:00:00Z, from the first charter that its log enacts.
create table notifier.tenants (
    tenant text primary key,
    live_since bigint not null
);
