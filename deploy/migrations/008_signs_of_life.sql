-- Signs of life of the services, by which they watch each other. Lost in a crash of the server, and given anew.
create unlogged table chassis.signs_of_life (
    service text primary key,
    at timestamptz not null
);
comment on table chassis.signs_of_life is 'When a process of each service was last alive, by the clock of PostgreSQL.';
