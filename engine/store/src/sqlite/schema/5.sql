-- The key of the node's data folder, by which a restarted node is told from another one.
ALTER TABLE node ADD COLUMN instance TEXT;
