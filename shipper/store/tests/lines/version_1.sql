-- The tables of version 1, as that version made them.
CREATE TABLE sources (
    id         INTEGER PRIMARY KEY,
    generation TEXT    NOT NULL UNIQUE
) STRICT;
CREATE TABLE logs (
    id         INTEGER PRIMARY KEY,
    time       INTEGER NOT NULL,
    source     INTEGER NOT NULL REFERENCES sources (id),
    "offset"   INTEGER NOT NULL,
    service    TEXT    NOT NULL,
    level      TEXT    NOT NULL,
    request_id TEXT,
    project_id TEXT,
    document   TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX logs_by_source ON logs (source, "offset");
CREATE INDEX logs_by_request ON logs (request_id, time) WHERE request_id IS NOT NULL;
CREATE INDEX logs_by_project ON logs (project_id, time) WHERE project_id IS NOT NULL;
CREATE INDEX logs_by_time ON logs (time);
CREATE VIEW lines AS
SELECT logs.id AS id, document ->> '$.timestamp' AS timestamp, service, level, document ->> '$.message' AS message,
       request_id, project_id, generation, "offset", document
FROM logs JOIN sources ON sources.id = source;
CREATE VIRTUAL TABLE logs_text USING fts5 (
    message, content='lines', content_rowid='id', columnsize=0, tokenize='unicode61 remove_diacritics 0'
);
PRAGMA application_id = 0x6f627376;
PRAGMA user_version = 1;
