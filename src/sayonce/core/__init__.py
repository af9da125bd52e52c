"""The pure parts of the cache: keys, envelopes, eviction, purges, counters, and what a listener must know first (``audio_start``); no I/O, no clock of their own, no threads."""
