-- Times are milliseconds UTC. Texts that hold JSON say so.

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

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

CREATE INDEX sessions_by_time ON sessions (updated_at, key);
CREATE INDEX sessions_by_archive_and_time ON sessions (archived, updated_at, key);
CREATE INDEX sessions_by_agent_and_time ON sessions (agent_id, archived, updated_at, key);
CREATE UNIQUE INDEX sessions_by_label ON sessions (label) WHERE label IS NOT NULL;

-- Kept by triggers, so that the total of a page costs the same with ten sessions and with millions.
CREATE TABLE session_counts (
    agent_id TEXT NOT NULL,
    archived BIGINT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (agent_id, archived)
);

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

CREATE TABLE transcripts (
    session_id TEXT NOT NULL PRIMARY KEY,
    session_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- Set when a reset or a delete put it aside.
    archived_at BIGINT,
    last_seq BIGINT NOT NULL DEFAULT 0
);

CREATE INDEX transcripts_by_key ON transcripts (session_key, created_at);

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

CREATE UNIQUE INDEX messages_by_place ON messages (session_id, seq);

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

CREATE INDEX runs_by_time ON runs (updated_at);
CREATE INDEX runs_unfinished ON runs (accepted_no) WHERE state IN ('accepted', 'given');
CREATE UNIQUE INDEX runs_by_acceptance ON runs (accepted_no);

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

-- A token generation is never used twice, also when a device is removed and comes back.
CREATE TABLE device_generations (
    device_id TEXT NOT NULL,
    role TEXT NOT NULL,
    generation BIGINT NOT NULL,
    PRIMARY KEY (device_id, role)
);

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

CREATE INDEX pairing_requests_by_expiry ON pairing_requests (expires_at);
