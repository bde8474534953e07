-- Nodes, what of them may be used, and what waits for an approval.

CREATE TABLE nodes (
    -- The device id; any text for nodes that were asked for by name (version 3).
    node_id TEXT NOT NULL PRIMARY KEY,
    display_name TEXT,
    platform TEXT,
    version TEXT,
    device_family TEXT,
    client_id TEXT,
    client_mode TEXT,
    -- The name that a person gave; wins over its own.
    given_name TEXT,
    -- JSON: the capabilities and commands that are approved; null when nothing ever was.
    approved TEXT,
    approved_at BIGINT,
    -- SHA-256 in hexadecimal of the pairing token (version 3).
    token_hash TEXT,
    created_at BIGINT NOT NULL,
    last_connected_at BIGINT,
    last_disconnected_at BIGINT,
    -- JSON
    host_stats TEXT
);

CREATE TABLE node_requests (
    request_id TEXT NOT NULL PRIMARY KEY,
    node_id TEXT NOT NULL UNIQUE,
    display_name TEXT,
    platform TEXT,
    version TEXT,
    device_family TEXT,
    client_id TEXT,
    client_mode TEXT,
    -- JSON: capabilities and commands
    asked TEXT NOT NULL,
    silent BIGINT NOT NULL,
    -- Asked for by name (version 3), not by a connection.
    by_name BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- A device that comes back after it was removed starts over, as a node too.
CREATE TRIGGER nodes_forgotten AFTER DELETE ON devices BEGIN
    DELETE FROM nodes WHERE node_id = OLD.device_id;
    DELETE FROM node_requests WHERE node_id = OLD.device_id;
END;
