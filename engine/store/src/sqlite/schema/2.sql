-- Random id, fixed when the store is created. What a client remembers of another store, above
-- all a position, means nothing here.
CREATE TABLE epoch (
    only INTEGER PRIMARY KEY CHECK (only = 0),
    word TEXT NOT NULL
) STRICT;
INSERT INTO epoch VALUES (0, lower(hex(randomblob(8))));
