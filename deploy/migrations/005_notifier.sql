-- The notifier's ledger: what it has folded, every message wanted and attempted, every task.
-- Instants are microseconds since 1970-01-01T00:00:00Z. No name, number, address or free text of a person is kept here.

CREATE SCHEMA notifier;

-- How far each log is folded; moved in the same transaction as the rows that follow from it. The stream's own id and the
-- SHA-256 of the entry at the position say whether it is still the log that was folded.
CREATE TABLE notifier.position (
    log       text   PRIMARY KEY,
    sequence  bigint NOT NULL,
    stream_id text,
    digest    bytea
);
INSERT INTO notifier.position (log, sequence) VALUES ('CASES', 0), ('SLA', 0);

-- What delivery needs to know of a case, and of the staff of a municipality.
CREATE TABLE notifier.cases (
    tenant  text  NOT NULL,
    case_id text  NOT NULL,
    view    jsonb NOT NULL,
    PRIMARY KEY (tenant, case_id)
);
CREATE TABLE notifier.staff (
    tenant     text    NOT NULL,
    staff      text    NOT NULL,
    department text    NOT NULL,
    has_email  boolean NOT NULL,
    PRIMARY KEY (tenant, staff)
);

-- One row per message that is wanted. `number` is the order in which they were wanted.
CREATE TABLE notifier.notices (
    key        text     PRIMARY KEY,
    number     bigint   NOT NULL GENERATED ALWAYS AS IDENTITY,
    tenant     text     NOT NULL,
    case_id    text     NOT NULL,
    audience   text     NOT NULL CHECK (audience IN ('citizen', 'officer')),
    recipient  text,
    template   text     NOT NULL,
    version    smallint NOT NULL,
    language   text     NOT NULL,
    arguments  jsonb    NOT NULL,
    promise    text,
    topic      text     NOT NULL,
    cause      jsonb    NOT NULL,
    means      text,
    state      text     NOT NULL CHECK (state IN ('held', 'pending', 'sending', 'sent', 'failed', 'unknown', 'suppressed')),
    reason     text,
    attempts   smallint NOT NULL DEFAULT 0,
    retracted  boolean  NOT NULL DEFAULT false,
    release_at bigint,
    wanted_at  bigint   NOT NULL,
    settled_at bigint
);
CREATE INDEX notices_open ON notifier.notices (means, state, number)
    WHERE state IN ('pending', 'sending', 'unknown');
CREATE INDEX notices_open_of_case ON notifier.notices (tenant, case_id, number)
    WHERE state IN ('pending', 'sending', 'unknown');
CREATE INDEX notices_held ON notifier.notices (release_at) WHERE state = 'held';
CREATE INDEX notices_topic ON notifier.notices (tenant, case_id, topic);

-- One row per attempt, committed before the gateway is called; the outcome follows.
CREATE TABLE notifier.attempts (
    key        text     NOT NULL REFERENCES notifier.notices (key),
    number     smallint NOT NULL,
    means      text     NOT NULL,
    repeated   boolean  NOT NULL,
    started_at bigint   NOT NULL,
    outcome    text,
    code       text,
    ended_at   bigint,
    PRIMARY KEY (key, number)
);

-- One row per thing that somebody of the municipality must do. `revision` counts how often it was assigned.
CREATE TABLE notifier.tasks (
    key        text     PRIMARY KEY,
    tenant     text     NOT NULL,
    case_id    text     NOT NULL,
    incident   text     NOT NULL,
    clause     text     NOT NULL,
    task       text     NOT NULL,
    promise    text,
    officer    text,
    amount     bigint,
    currency   text,
    needs      text[]   NOT NULL DEFAULT '{}',
    cause      jsonb    NOT NULL,
    state      text     NOT NULL CHECK (state IN ('held', 'assigned', 'withdrawn', 'issued', 'kept')),
    revision   smallint NOT NULL DEFAULT 0,
    release_at bigint,
    wanted_at  bigint   NOT NULL,
    UNIQUE (tenant, case_id, incident, clause, task)
);
CREATE INDEX tasks_held ON notifier.tasks (release_at) WHERE state = 'held';

-- What goes to NOTICES, and how far it went (see services/chassis/outbox.py).
CREATE TABLE notifier.outbox (
    lane    smallint NOT NULL,
    number  bigint   NOT NULL,
    subject text     NOT NULL,
    body    bytea    NOT NULL,
    PRIMARY KEY (lane, number)
);
CREATE TABLE notifier.relay (
    lane            smallint PRIMARY KEY,
    sent            bigint   NOT NULL,
    chain           bytea    NOT NULL,
    marker_sequence bigint   NOT NULL
);

-- What publishers are told (receipts and feeds), deleted once RECEIPTS has acknowledged it.
CREATE TABLE notifier.tellings (
    number  bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    key     text   NOT NULL,
    subject text   NOT NULL,
    body    bytea  NOT NULL
);

CREATE VIEW read.notices AS
    SELECT tenant, case_id AS "case", key, audience, template, version, language, promise, means, state, reason,
           attempts, release_at, wanted_at, settled_at
    FROM notifier.notices;

CREATE VIEW read.tasks AS
    SELECT tenant, case_id AS "case", key, incident, clause AS remedy, task, promise, officer, state, amount, currency,
           needs, revision, release_at, wanted_at
    FROM notifier.tasks;

CREATE VIEW read.notifier AS
    SELECT (SELECT sequence FROM notifier.position WHERE log = 'CASES') AS cases_sequence,
           (SELECT sequence FROM notifier.position WHERE log = 'SLA') AS sla_sequence,
           (SELECT count(*) FROM notifier.notices WHERE state IN ('pending', 'sending', 'unknown')) AS open_notices,
           (SELECT min(release_at) FROM (SELECT release_at FROM notifier.notices WHERE state = 'held'
                                         UNION ALL SELECT release_at FROM notifier.tasks WHERE state = 'held') AS held)
               AS next_release,
           (SELECT count(*) FROM notifier.outbox o LEFT JOIN notifier.relay r USING (lane)
            WHERE o.number > coalesce(r.sent, 0)) + (SELECT count(*) FROM notifier.tellings) AS unpublished;
