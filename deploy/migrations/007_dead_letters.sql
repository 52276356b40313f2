-- Dead letters: how long the key of each lives, and what was put in the place of its content.
alter table vault.letters add column expires bigint;
update vault.letters set expires = (extract(epoch from now()) * 1000000)::bigint + 30 * 86400000000::bigint;
alter table vault.letters alter column expires set not null;
create index on vault.letters (expires);
comment on column vault.letters.expires is
    'Microseconds since 1970-01-01T00:00:00Z: from then on the key is destroyed, settled or not.';

-- Sealed with the letter's own key; the content as it came stays in the stream DEAD. Gone with the key.
create table vault.letter_fixes (
    tenant text not null,
    letter text not null,
    number integer not null,
    sealed bytea not null,
    primary key (tenant, letter, number)
);
