-- 1 for a deployment that supersedes another one and waits for its end. At most one deployment
-- of a module in an environment may change nodes, and at most one waits for it.
ALTER TABLE deployment ADD COLUMN waits INTEGER NOT NULL DEFAULT 0;
DROP INDEX deployment_open;
CREATE UNIQUE INDEX deployment_open ON deployment (module, environment, waits) WHERE ended = 0;

-- Lifecycles tell now whether a wait is under way. A memo that cannot be read is folded anew.
UPDATE deployment SET lifecycle = '' WHERE ended = 0;

-- The module of an event that decides what should run, to find what was decided for it.
ALTER TABLE environment_event ADD COLUMN module TEXT;
UPDATE environment_event SET module = json_extract(CAST(body AS TEXT), '$.data.module')
    WHERE decides = 1 AND json_valid(CAST(body AS TEXT));
CREATE INDEX environment_event_module ON environment_event (environment, module, position)
    WHERE module IS NOT NULL;
