-- The journals of environments: what happens there outside of deployments. Positions are shared
-- with the table event.
CREATE TABLE environment_event (
    position    INTEGER PRIMARY KEY,
    environment TEXT    NOT NULL,
    at          INTEGER NOT NULL,    -- milliseconds since the Unix epoch
    decides     INTEGER NOT NULL,    -- 1 if it decides what should run, so that it is kept
    body        BLOB    NOT NULL     -- JSON
) STRICT;
CREATE INDEX environment_event_place ON environment_event (environment, position);

-- The fence of the engine that changes nodes of an environment outside of deployments.
CREATE TABLE environment (
    name  TEXT    PRIMARY KEY,
    fence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A fold over the journals of environments: the last retirement of each module.
CREATE TABLE retirement (
    environment TEXT    NOT NULL,
    module      TEXT    NOT NULL,
    number      INTEGER NOT NULL,    -- the deployments up to this one decide nothing any more
    at          INTEGER NOT NULL,    -- milliseconds since the Unix epoch
    PRIMARY KEY (environment, module)
) STRICT, WITHOUT ROWID;

-- What was decided last for each module of an environment.
CREATE INDEX deployment_environment_module ON deployment (environment, module);
-- The key of the node's data folder, by which a restarted node is told from another one.
ALTER TABLE node ADD COLUMN instance TEXT;
