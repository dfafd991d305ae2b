-- What the events of a deployment add up to, as its reader stored it. Never the truth: a missing
-- snapshot, or one of another format, is made again from the events.
CREATE TABLE snapshot (
    deployment INTEGER PRIMARY KEY REFERENCES deployment (number) ON DELETE CASCADE,
    format     INTEGER NOT NULL,
    next_seq   INTEGER NOT NULL,     -- the events below are folded into it
    ended      INTEGER NOT NULL,     -- 0 or 1
    summary    BLOB    NOT NULL,     -- before the state, which may be long: lists read no further
    state      BLOB    NOT NULL
) STRICT;
CREATE INDEX snapshot_ended ON snapshot (format) WHERE ended = 1;

-- Lists by two or three conditions read only what they return, however long the history is.
CREATE INDEX deployment_module_environment ON deployment (module, environment);
CREATE INDEX deployment_module_status ON deployment (module, status);
CREATE INDEX deployment_environment_status ON deployment (environment, status);
CREATE INDEX deployment_module_environment_status ON deployment (module, environment, status);
-- The newest successful deployment of each module in an environment.
CREATE INDEX deployment_environment_succeeded ON deployment (environment, module)
    WHERE status = 'succeeded';

-- The highest position of an event that was deleted with its journal.
CREATE TABLE deleted (
    only    INTEGER PRIMARY KEY CHECK (only = 0),
    through INTEGER NOT NULL
) STRICT;
INSERT INTO deleted VALUES (0, 0);
