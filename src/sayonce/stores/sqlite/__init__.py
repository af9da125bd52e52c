"""SQLite as a store: one file, several processes, eviction, and what is done when the file is in trouble; no network."""
