-- One-time codes that pair a device without anybody being asked. Of a code only its hash is kept.
CREATE TABLE setup_codes (
    -- SHA-256 in hexadecimal
    hash TEXT NOT NULL PRIMARY KEY,
    role TEXT NOT NULL,
    -- JSON: a list of scopes
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    -- The device that it was bound to, in words for a person.
    used_by TEXT
);

CREATE INDEX setup_codes_by_expiry ON setup_codes (expires_at);
