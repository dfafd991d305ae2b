-- The last fence that was handed out, over all deployments.
CREATE TABLE fence (
    only INTEGER PRIMARY KEY CHECK (only = 0),
    last INTEGER NOT NULL
) STRICT;
INSERT INTO fence VALUES (0, 0);

-- One row for each journal. Lifecycle, status and ended are a fold over its events. They are
-- written in the transaction that appends the events which change them.
CREATE TABLE deployment (
    number      INTEGER PRIMARY KEY, -- the order of creation
    id          BLOB    NOT NULL UNIQUE,
    module      TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    fence       INTEGER NOT NULL,    -- of the engine that drives it, 0 for none yet
    lifecycle   TEXT    NOT NULL,    -- JSON
    status      TEXT    NOT NULL,
    ended       INTEGER NOT NULL,    -- 0 or 1
    created_at  INTEGER NOT NULL     -- milliseconds since the Unix epoch
) STRICT;
-- At most one open deployment for a module in an environment, whatever the code does.
CREATE UNIQUE INDEX deployment_open ON deployment (module, environment) WHERE ended = 0;
CREATE INDEX deployment_succeeded ON deployment (module, environment) WHERE status = 'succeeded';
CREATE INDEX deployment_module ON deployment (module);
CREATE INDEX deployment_environment ON deployment (environment);
CREATE INDEX deployment_status ON deployment (status);

-- All journals in the order of their appends, so that a batch is written at the table's end.
CREATE TABLE event (
    position   INTEGER PRIMARY KEY,
    deployment INTEGER NOT NULL REFERENCES deployment (number),
    seq        INTEGER NOT NULL,
    at         INTEGER NOT NULL,     -- milliseconds since the Unix epoch
    body       BLOB    NOT NULL      -- JSON
) STRICT;
CREATE UNIQUE INDEX event_place ON event (deployment, seq);

CREATE TABLE module (
    name        TEXT    NOT NULL,
    version     TEXT    NOT NULL,
    digest      TEXT    NOT NULL,
    size        INTEGER NOT NULL,    -- bytes
    uploaded_at INTEGER NOT NULL,
    uploaded_by TEXT    NOT NULL,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE strategy (
    name          TEXT    PRIMARY KEY,
    version       TEXT    NOT NULL,
    summary       TEXT    NOT NULL,
    config_schema TEXT    NOT NULL,  -- JSON
    digest        TEXT    NOT NULL,
    wit           TEXT    NOT NULL,
    built_in      INTEGER NOT NULL,
    uploaded_at   INTEGER NOT NULL,
    uploaded_by   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE node (
    id            TEXT    PRIMARY KEY,
    environment   TEXT    NOT NULL,
    zone          TEXT,
    labels        TEXT    NOT NULL,  -- JSON
    control_url   TEXT    NOT NULL,
    data_url      TEXT    NOT NULL,
    registered_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
