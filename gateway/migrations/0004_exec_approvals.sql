-- Requests for approval of one command each, and what became of them. An id is never used twice.
CREATE TABLE exec_approvals (
    id TEXT NOT NULL PRIMARY KEY,
    -- pending, allowed, used, denied, expired, no-route, restarted
    state TEXT NOT NULL,
    -- JSON: what exactly would be run
    plan TEXT NOT NULL,
    -- SHA-256 of the plan in hexadecimal
    digest TEXT NOT NULL,
    -- JSON: as whoever decides is shown it
    request TEXT NOT NULL,
    -- The device that asked; null for the owner's own command line.
    device_id TEXT,
    decision TEXT,
    resolved_by TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    resolved_at BIGINT
);

CREATE INDEX exec_approvals_by_time ON exec_approvals (created_at);
