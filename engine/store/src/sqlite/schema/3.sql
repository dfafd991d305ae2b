-- The key under which a requester, the subject of a token, may repeat its request.
ALTER TABLE deployment ADD COLUMN requester TEXT;
ALTER TABLE deployment ADD COLUMN idempotency_key TEXT;
CREATE UNIQUE INDEX deployment_idempotency_key ON deployment (requester, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
