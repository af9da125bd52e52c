"""The pure core: keys, envelopes, epochs, breaker, eviction."""
