-- A fold over the journals of environments: the event with which each node came from another
-- environment. That event is kept as long.
CREATE TABLE arrival (
    node        TEXT    NOT NULL PRIMARY KEY,
    position    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
