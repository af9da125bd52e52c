-- Entries and their bodies are apart, so that noting a use or choosing what to evict never touches a body.
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS entries (
    id      INTEGER PRIMARY KEY,
    key     BLOB    NOT NULL UNIQUE,  -- the 32-byte digest
    expires REAL    NOT NULL,         -- seconds since the Unix epoch
    used    REAL    NOT NULL,         -- the last read or write, seconds since the Unix epoch
    size    INTEGER NOT NULL,         -- what the entry counts for, in bytes
    uses    INTEGER NOT NULL DEFAULT 0,  -- requests beyond the first
    worth   REAL    NOT NULL DEFAULT 0,  -- seconds that a use saves, per byte of the size
    priority REAL   NOT NULL DEFAULT 0   -- usage.age at the last use + uses * worth: the lowest go first
);
CREATE INDEX IF NOT EXISTS entries_by_expiry ON entries (expires);
CREATE INDEX IF NOT EXISTS entries_by_use ON entries (used);
CREATE INDEX IF NOT EXISTS entries_by_priority ON entries (priority, used);
CREATE TABLE IF NOT EXISTS bodies (
    id     INTEGER PRIMARY KEY,       -- entries.id
    sealed BLOB    NOT NULL           -- the envelope
);
-- One row: the figures of the whole file, kept by triggers so that they are exact across processes and cost O(1).
CREATE TABLE IF NOT EXISTS usage (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    entries INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    age     REAL    NOT NULL          -- the priority of the last entry that was evicted
);
INSERT OR IGNORE INTO usage VALUES (1, 0, 0, 0);
CREATE TRIGGER IF NOT EXISTS entry_added AFTER INSERT ON entries BEGIN
    UPDATE usage SET entries = entries + 1, bytes = bytes + new.size;
END;
CREATE TRIGGER IF NOT EXISTS entry_removed AFTER DELETE ON entries BEGIN
    DELETE FROM bodies WHERE id = old.id;
    UPDATE usage SET entries = entries - 1, bytes = bytes - old.size;
END;
CREATE TABLE IF NOT EXISTS totals (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
-- How the processes of this machine share a computation; rows of the dead expire.
CREATE TABLE IF NOT EXISTS leases (key BLOB PRIMARY KEY, owner TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
    id      INTEGER PRIMARY KEY,
    key     BLOB    NOT NULL,
    owner   TEXT    NOT NULL,
    expires REAL    NOT NULL,
    record  BLOB    NOT NULL
);
CREATE INDEX IF NOT EXISTS records_by_flight ON records (key, owner);
CREATE INDEX IF NOT EXISTS records_by_expiry ON records (expires);
-- The fields of tables, which are kept for good, such as the names of voices; `book` is the name of a table.
CREATE TABLE IF NOT EXISTS books (book TEXT, name TEXT, value BLOB NOT NULL, PRIMARY KEY (book, name));
PRAGMA application_id = 0x5341594F;  -- "SAYO"
PRAGMA user_version = 2;
COMMIT;
