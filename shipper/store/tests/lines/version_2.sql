-- The tables of version 2, as that version made them.
CREATE TABLE sources (
    id         INTEGER PRIMARY KEY,
    generation TEXT    NOT NULL UNIQUE
) STRICT;
CREATE TABLE logs (
    id         INTEGER PRIMARY KEY,
    time       INTEGER NOT NULL,
    source     INTEGER NOT NULL REFERENCES sources (id),
    "offset"   INTEGER NOT NULL,
    length     INTEGER NOT NULL,
    document   TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX logs_by_source ON logs (source, "offset");
CREATE TABLE runs (
    first     INTEGER PRIMARY KEY,
    lines     INTEGER NOT NULL,
    earliest  INTEGER NOT NULL,
    latest    INTEGER NOT NULL,
    times     BLOB    NOT NULL,
    durations BLOB    NOT NULL
) STRICT;
CREATE TABLE terms (
    run   INTEGER NOT NULL,
    first BLOB    NOT NULL,
    data  BLOB    NOT NULL
) STRICT;
CREATE INDEX terms_by_first ON terms (run, first);
CREATE TABLE retired (
    source INTEGER PRIMARY KEY REFERENCES sources (id),
    lines  INTEGER NOT NULL,
    bytes  INTEGER NOT NULL,
    first  INTEGER NOT NULL,
    last   INTEGER NOT NULL
) STRICT;
CREATE TABLE removed (
    through INTEGER NOT NULL,
    lines   INTEGER NOT NULL,
    bytes   INTEGER NOT NULL
) STRICT;
INSERT INTO removed (through, lines, bytes) VALUES (-1, 0, 0);
CREATE VIEW lines AS
SELECT logs.id AS id, document ->> '$.timestamp' AS timestamp, document ->> '$.service' AS service,
       document ->> '$.level' AS level, document ->> '$.message' AS message, document ->> '$.request_id' AS request_id,
       document ->> '$.project_id' AS project_id, generation, "offset", document
FROM logs JOIN sources ON sources.id = source;
PRAGMA application_id = 0x6f627376;
PRAGMA user_version = 2;
