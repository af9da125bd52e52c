"""SQLite as a store: one file, several processes, eviction, and recovery when the file is in trouble; no network."""
