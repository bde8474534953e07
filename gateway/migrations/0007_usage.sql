-- What models used, by day: once for each session, once for each agent, so that sums over many
-- sessions read few rows. Costs are in billionths of a dollar; "unpriced" runs have none.

ALTER TABLE sessions ADD COLUMN cost_nanos BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN unpriced_runs BIGINT NOT NULL DEFAULT 0;
UPDATE sessions SET unpriced_runs = 1 WHERE total_tokens > 0;

CREATE TABLE usage_of_sessions (
    session_key TEXT NOT NULL,
    -- YYYY-MM-DD, UTC
    day TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    runs BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    input BIGINT NOT NULL,
    output BIGINT NOT NULL,
    cache_read BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    total BIGINT NOT NULL,
    input_nanos BIGINT NOT NULL,
    output_nanos BIGINT NOT NULL,
    cache_read_nanos BIGINT NOT NULL,
    cache_write_nanos BIGINT NOT NULL,
    PRIMARY KEY (session_key, day, provider, model)
);

CREATE TABLE usage_of_agents (
    agent_id TEXT NOT NULL,
    -- YYYY-MM-DD, UTC
    day TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    runs BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    input BIGINT NOT NULL,
    output BIGINT NOT NULL,
    cache_read BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    total BIGINT NOT NULL,
    input_nanos BIGINT NOT NULL,
    output_nanos BIGINT NOT NULL,
    cache_read_nanos BIGINT NOT NULL,
    cache_write_nanos BIGINT NOT NULL,
    PRIMARY KEY (day, agent_id, provider, model)
);

CREATE TRIGGER sessions_usage_forgotten AFTER DELETE ON sessions BEGIN
    DELETE FROM usage_of_sessions WHERE session_key = OLD.key;
END;
