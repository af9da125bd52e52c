"""The pure parts of the cache: keys, envelopes, decisions, counters; no I/O, no clock of their own, no threads."""
