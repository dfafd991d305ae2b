-- The part of its environment that a deployment is for, as its selector is written. NULL for all
-- nodes, as for every deployment from before.
ALTER TABLE deployment ADD COLUMN selector TEXT;
-- The newest successful deployment of each module and selector in an environment.
CREATE INDEX deployment_environment_selector ON deployment (environment, module, selector)
    WHERE status = 'succeeded';
