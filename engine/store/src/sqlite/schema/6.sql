-- A fold over the journals of environments: the event that cordons or drains each node which is
-- cordoned. That event is kept as long.
CREATE TABLE cordon (
    environment TEXT    NOT NULL,
    node        TEXT    NOT NULL,
    position    INTEGER NOT NULL,
    PRIMARY KEY (environment, node)
) STRICT, WITHOUT ROWID;
