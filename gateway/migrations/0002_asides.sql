-- Slash commands and their answers stand in a transcript, and no model is shown them.
ALTER TABLE messages ADD COLUMN aside BIGINT NOT NULL DEFAULT 0;

-- Models are shown what stands behind this place: compacting moves it.
ALTER TABLE transcripts ADD COLUMN context_from BIGINT NOT NULL DEFAULT 0;
