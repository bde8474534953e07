-- A store as clawline-gateway wrote it with schema 1: one conversation, one run, one paired device.
CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, execution_time BIGINT NOT NULL);
INSERT INTO "_sqlx_migrations" VALUES(1,'start','2026-11-22 23:47:57',1,X'96C4400E9AA76AF6392227F28378548F665345F168A65D069D23A8A6EB9E01024392877CD5EAF106511A471E98252F07',1838233);
CREATE TABLE device_generations (
    device_id TEXT NOT NULL,
    role TEXT NOT NULL,
    generation BIGINT NOT NULL,
    PRIMARY KEY (device_id, role)
);
INSERT INTO "device_generations" VALUES('9be2bbf3b8792a136a9cea786603624b7656f98153ae819a554c98e2bb9717f1','operator',1);
CREATE TABLE device_roles (
    device_id TEXT NOT NULL REFERENCES devices (device_id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    -- JSON: a list of scopes
    scopes TEXT NOT NULL,
    token_generation BIGINT NOT NULL,
    revoked_at BIGINT,
    created_at BIGINT NOT NULL,
    rotated_at BIGINT,
    last_used_at BIGINT,
    PRIMARY KEY (device_id, role)
);
INSERT INTO "device_roles" VALUES('9be2bbf3b8792a136a9cea786603624b7656f98153ae819a554c98e2bb9717f1','operator','["operator.admin","operator.read","operator.write","operator.approvals","operator.pairing"]',1,NULL,1795391279344,NULL,1795391279353);
CREATE TABLE devices (
    device_id TEXT NOT NULL PRIMARY KEY,
    public_key TEXT NOT NULL,
    display_name TEXT,
    platform TEXT,
    device_family TEXT,
    client_id TEXT,
    client_mode TEXT,
    remote_ip TEXT,
    silent BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    approved_at BIGINT NOT NULL,
    last_seen_at BIGINT
);
INSERT INTO "devices" VALUES('9be2bbf3b8792a136a9cea786603624b7656f98153ae819a554c98e2bb9717f1','ohVSR7vbax_pgJ4NSsRqnpE1aTsLUKdOi-bO8i9WcbQ','vm','linux','Linux','gateway-client','ui','127.0.0.1',1,1795391279344,1795391279344,1795391279353);
CREATE TABLE messages (
    id TEXT NOT NULL PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES transcripts (session_id) ON DELETE CASCADE,
    -- From 1, without gaps.
    seq BIGINT NOT NULL,
    role TEXT NOT NULL,
    -- JSON: a list of parts
    content TEXT NOT NULL,
    timestamp BIGINT NOT NULL,
    run_id TEXT,
    provider TEXT,
    model TEXT,
    stop_reason TEXT,
    -- JSON
    usage TEXT,
    aborted BIGINT NOT NULL DEFAULT 0,
    interrupted BIGINT NOT NULL DEFAULT 0,
    error TEXT
);
INSERT INTO "messages" VALUES('84c0b11c-2b1c-4a4a-b281-5879dd8c3b61','7dcee126-eabd-4c29-b318-10ba2983c563',1,'user','[{"type":"text","text":"hello from schema one"}]',1795391279386,'8bc859a2-9418-4ff0-82b3-d6b56a3083d7',NULL,NULL,NULL,NULL,0,0,NULL);
INSERT INTO "messages" VALUES('be1313d9-6bcd-4599-848e-da3b3d1385cc','7dcee126-eabd-4c29-b318-10ba2983c563',2,'assistant','[{"type":"text","text":"This is the built-in echo: no model is configured, so your own words come back.\n\nhello from schema one"}]',1795391279833,'8bc859a2-9418-4ff0-82b3-d6b56a3083d7','builtin','echo','stop','{"input":4,"output":19,"total":23}',0,0,NULL);
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
INSERT INTO "meta" VALUES('gateway_secret','a-secret-of-the-fixture-of-schema-one-000000');
INSERT INTO "meta" VALUES('clean_shutdown','1');
CREATE TABLE pairing_requests (
    request_id TEXT NOT NULL PRIMARY KEY,
    device_id TEXT NOT NULL UNIQUE,
    public_key TEXT NOT NULL,
    display_name TEXT,
    platform TEXT,
    device_family TEXT,
    client_id TEXT,
    client_mode TEXT,
    remote_ip TEXT,
    role TEXT NOT NULL,
    -- JSON: a list of scopes
    scopes TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE TABLE runs (
    -- The idempotency key.
    run_id TEXT NOT NULL PRIMARY KEY,
    session_key TEXT NOT NULL,
    session_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- SHA-256 in hexadecimal
    body_hash TEXT NOT NULL,
    state TEXT NOT NULL,
    -- JSON
    options TEXT NOT NULL,
    user_seq BIGINT NOT NULL,
    answer TEXT NOT NULL DEFAULT '',
    error TEXT,
    stop_reason TEXT,
    -- JSON
    usage TEXT,
    provider TEXT,
    model TEXT,
    -- The order of acceptance.
    accepted_no BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT
);
INSERT INTO "runs" VALUES('8bc859a2-9418-4ff0-82b3-d6b56a3083d7','agent:main:main','7dcee126-eabd-4c29-b318-10ba2983c563','agent','f227159c06284db94ed484b2c871e05853e8082f809b1fc2ba4eb6b7714bb22b','done','{"timeout":{"secs":600,"nanos":0}}',1,'This is the built-in echo: no model is configured, so your own words come back.

hello from schema one',NULL,'stop','{"input":4,"output":19,"total":23}','builtin','echo',1,1795391279386,1795391279833,1795391279401,1795391279833);
CREATE TABLE session_counts (
    agent_id TEXT NOT NULL,
    archived BIGINT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (agent_id, archived)
);
INSERT INTO "session_counts" VALUES('main',0,1);
CREATE TABLE sessions (
    key TEXT NOT NULL PRIMARY KEY,
    -- The current transcript.
    session_id TEXT NOT NULL UNIQUE,
    agent_id TEXT NOT NULL,
    revision BIGINT NOT NULL,
    label TEXT,
    archived BIGINT NOT NULL DEFAULT 0,
    pinned BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- JSON
    settings TEXT NOT NULL,
    input_tokens BIGINT NOT NULL DEFAULT 0,
    output_tokens BIGINT NOT NULL DEFAULT 0,
    total_tokens BIGINT NOT NULL DEFAULT 0,
    context_tokens BIGINT NOT NULL DEFAULT 0,
    last_run_id TEXT,
    last_run_state TEXT,
    last_run_started_at BIGINT,
    last_run_ended_at BIGINT,
    last_run_provider TEXT,
    last_run_model TEXT,
    title TEXT,
    preview TEXT,
    message_count BIGINT NOT NULL DEFAULT 0
);
INSERT INTO "sessions" VALUES('agent:main:main','7dcee126-eabd-4c29-b318-10ba2983c563','main',1,NULL,0,0,1795391279386,1795391279833,'{}',4,19,23,23,'8bc859a2-9418-4ff0-82b3-d6b56a3083d7','done',1795391279401,1795391279833,'builtin','echo','hello from schema one','This is the built-in echo: no model is configured, so your own words come back. hello from schema one',2);
CREATE TABLE transcripts (
    session_id TEXT NOT NULL PRIMARY KEY,
    session_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- Set when a reset or a delete put it aside.
    archived_at BIGINT,
    last_seq BIGINT NOT NULL DEFAULT 0
);
INSERT INTO "transcripts" VALUES('7dcee126-eabd-4c29-b318-10ba2983c563','agent:main:main',1795391279386,NULL,2);
CREATE INDEX sessions_by_time ON sessions (updated_at, key);
CREATE INDEX sessions_by_archive_and_time ON sessions (archived, updated_at, key);
CREATE INDEX sessions_by_agent_and_time ON sessions (agent_id, archived, updated_at, key);
CREATE UNIQUE INDEX sessions_by_label ON sessions (label) WHERE label IS NOT NULL;
CREATE INDEX transcripts_by_key ON transcripts (session_key, created_at);
CREATE UNIQUE INDEX messages_by_place ON messages (session_id, seq);
CREATE INDEX runs_by_time ON runs (updated_at);
CREATE INDEX runs_unfinished ON runs (accepted_no) WHERE state IN ('accepted', 'given');
CREATE UNIQUE INDEX runs_by_acceptance ON runs (accepted_no);
CREATE INDEX pairing_requests_by_expiry ON pairing_requests (expires_at);
CREATE TRIGGER sessions_counted_in AFTER INSERT ON sessions BEGIN
    INSERT INTO session_counts (agent_id, archived, n) VALUES (NEW.agent_id, NEW.archived, 1)
    ON CONFLICT (agent_id, archived) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER sessions_counted_out AFTER DELETE ON sessions BEGIN
    UPDATE session_counts SET n = n - 1 WHERE agent_id = OLD.agent_id AND archived = OLD.archived;
END;
CREATE TRIGGER sessions_counted_again AFTER UPDATE OF archived ON sessions
WHEN NEW.archived <> OLD.archived BEGIN
    UPDATE session_counts SET n = n - 1 WHERE agent_id = OLD.agent_id AND archived = OLD.archived;
    INSERT INTO session_counts (agent_id, archived, n) VALUES (NEW.agent_id, NEW.archived, 1)
    ON CONFLICT (agent_id, archived) DO UPDATE SET n = n + 1;
END;
