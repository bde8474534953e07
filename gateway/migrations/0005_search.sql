-- The words of messages and the names of sessions, by which they are found. The texts themselves are
-- not kept a second time. Full-text search is the one thing here that every engine spells its own way.

-- A number for the index; a plain column, because rowids may change when the file is copied.
ALTER TABLE messages ADD COLUMN n BIGINT;
UPDATE messages SET n = rowid;
CREATE UNIQUE INDEX messages_by_number ON messages (n);

CREATE VIRTUAL TABLE message_words USING fts5 (
    text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);

INSERT INTO message_words (rowid, text)
SELECT n, (
    SELECT group_concat(json_extract(part.value, '$.text'), ' ')
    FROM json_each(messages.content) AS part
    WHERE json_extract(part.value, '$.type') = 'text'
)
FROM messages WHERE role IN ('user', 'assistant') AND aside = 0;

CREATE TRIGGER messages_forgotten AFTER DELETE ON messages BEGIN
    DELETE FROM message_words WHERE rowid = OLD.n;
END;

ALTER TABLE sessions ADD COLUMN n BIGINT;
UPDATE sessions SET n = rowid;
CREATE UNIQUE INDEX sessions_by_number ON sessions (n);

-- Three characters at a time, so that any part of a name is found. "agent:" stands before every key.
CREATE VIRTUAL TABLE session_names USING fts5 (
    text, content = '', contentless_delete = 1, tokenize = 'trigram'
);

INSERT INTO session_names (rowid, text)
SELECT n, substr(key, 7) || char(10) || COALESCE(label, '') || char(10) || COALESCE(title, '')
FROM sessions;

CREATE TRIGGER sessions_named AFTER INSERT ON sessions BEGIN
    INSERT INTO session_names (rowid, text) VALUES (NEW.n, substr(NEW.key, 7) || char(10)
        || COALESCE(NEW.label, '') || char(10) || COALESCE(NEW.title, ''));
END;

CREATE TRIGGER sessions_named_again AFTER UPDATE OF label, title ON sessions
WHEN NEW.label IS NOT OLD.label OR NEW.title IS NOT OLD.title BEGIN
    DELETE FROM session_names WHERE rowid = OLD.n;
    INSERT INTO session_names (rowid, text) VALUES (NEW.n, substr(NEW.key, 7) || char(10)
        || COALESCE(NEW.label, '') || char(10) || COALESCE(NEW.title, ''));
END;

CREATE TRIGGER sessions_forgotten AFTER DELETE ON sessions BEGIN
    DELETE FROM session_names WHERE rowid = OLD.n;
END;
