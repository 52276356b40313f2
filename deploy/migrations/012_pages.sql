-- Citizens' pages: which links hold, how often somebody tried, how well promises were kept, what a survey said.
-- Instants are microseconds since 1970-01-01T00:00:00Z.

-- A link to a case carries a signature over this number; raising it takes every link back that was given out before.
-- A case without a row stands at 0.
create table intake.link_epochs (
    tenant text not null,
    case_id text not null,
    epoch integer not null,
    primary key (tenant, case_id)
);

-- Tries by keyed digest of what was tried (a receipt number, an address), so that neither stands here. A row counts
-- for an hour from its first try on.
create table intake.tries (
    digest bytea primary key,
    tries integer not null,
    since bigint not null
);
create index on intake.tries (since);

create index reservations_survey on intake.reservations (tenant, occurred) where type = 'survey.answered';

-- Of runs that ended one way or the other. What was met late was broken; a breach that was retracted was none. A run
-- that goes on, was voided or lapsed is neither, and is absent.
create view read.promises_kept as
select tenant, "case", promise, occurrence, due, broken <= 0 as kept
from (
    select
        tenant, "case", promise, occurrence,
        (array_agg(due order by number desc) filter (where due is not null))[1] as due,
        count(*) filter (where kind = 'deadline.breached') - count(*) filter (where kind = 'breach.retracted') as broken,
        max(number) filter (where kind = 'deadline.met') as met,
        max(number) filter (
            where kind in ('deadline.started', 'deadline.resumed', 'deadline.suspended', 'deadline.voided')
                or case when kind = 'deadline.moved' then data ->> 'reason' = 'reopened' end
        ) as undone
    from read.case_decisions
    where kind like 'deadline.%' or kind = 'breach.retracted'
    group by tenant, "case", promise, occurrence
) as runs
where broken > 0 or met > coalesce(undone, 0);
comment on view read.promises_kept is
    'Each run of a promise that was kept or broken, with when it was due: what a city may say of itself in numbers.';

create view read.survey_answers as
select
    r.tenant, r.occurred as at,
    (convert_from(r.bodies[1], 'UTF8')::jsonb -> 'data' ->> 'satisfaction')::integer as satisfaction
from intake.reservations r
where r.type = 'survey.answered' and r.refusal is null and r.instance is not null;
comment on view read.survey_answers is
    'What citizens said of how their case went, from 1 (very dissatisfied) to 5, without which case it was.';
