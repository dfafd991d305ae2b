-- Made at random with the store: what somebody remembers of another one, a position above
-- all, means nothing here.
CREATE TABLE epoch (
    only INTEGER PRIMARY KEY CHECK (only = 0),
    word TEXT NOT NULL
) STRICT;
INSERT INTO epoch VALUES (0, lower(hex(randomblob(8))));
