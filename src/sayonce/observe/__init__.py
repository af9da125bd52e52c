"""Metrics, logs with the ids of requests, traces, recent requests, the savings ledger and the simulator; the routes that show them are in `gateway`."""
