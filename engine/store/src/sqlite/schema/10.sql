-- Discovery backends that were uploaded. Those of the engine and those in files are not here.
CREATE TABLE discovery_backend (
    name          TEXT    NOT NULL PRIMARY KEY,
    version       TEXT    NOT NULL,
    summary       TEXT    NOT NULL,
    config_schema TEXT    NOT NULL,  -- JSON
    can_register  INTEGER NOT NULL,
    secrets       TEXT    NOT NULL,  -- JSON
    digest        TEXT    NOT NULL,
    wit           TEXT    NOT NULL,
    uploaded_at   INTEGER NOT NULL,
    uploaded_by   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
