-- The event with which people gave an environment its policy. None where its policy is that of
-- each engine's configuration.
CREATE TABLE policy (
    environment TEXT    NOT NULL PRIMARY KEY,
    position    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
