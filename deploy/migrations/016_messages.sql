-- Messages: to whom of the municipality they go, which of them make one, and by what else they are said.
-- Instants are microseconds since 1970-01-01T00:00:00Z.

alter table notifier.notices add column rung text check (rung in ('officer', 'head', 'audit'));
alter table notifier.notices add column only_by text;
alter table notifier.notices add column bundle text;
alter table notifier.notices add column gathers boolean not null default false;
alter table notifier.notices add column part_of text;
alter table notifier.notices add column let_go_at bigint;
comment on column notifier.notices.rung is
    'Who of the municipality is told at first; where that is nobody, whoever stands above.';
comment on column notifier.notices.only_by is 'The one means by which it goes, where a charter says so.';
comment on column notifier.notices.bundle is 'Messages of a case that one event brings have the same one, and go as one.';
comment on column notifier.notices.gathers is 'It waits for the next digest of whom it is for.';
comment on column notifier.notices.part_of is 'The key of the message that says it in its place.';
comment on column notifier.notices.let_go_at is 'When it was given to a courier, which counts for the day''s cap.';

create index notices_part_of on notifier.notices (part_of) where part_of is not null;
create index notices_of_recipient on notifier.notices (tenant, recipient, let_go_at) where let_go_at is not null;

alter table notifier.staff add column superior text;
alter table notifier.staff add column head boolean not null default false;
create index staff_heads on notifier.staff (tenant, department) where head;

drop view read.notices;
create view read.notices as
select tenant, case_id as "case", key, audience, template, version, language, promise, means, state, reason,
       attempts, release_at, wanted_at, settled_at, part_of
from notifier.notices;

create view read.link_epochs as
select tenant, case_id as "case", epoch from intake.link_epochs;
comment on view read.link_epochs is
    'The number over which links to a case are signed; a case that is not here stands at 0.';
