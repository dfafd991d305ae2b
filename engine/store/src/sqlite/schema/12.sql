-- Up to this position events may be missing: nodes have seen fences that this database does not know.
ALTER TABLE epoch ADD COLUMN lost_at INTEGER NOT NULL DEFAULT 0;
