"""Metrics, logs, traces, the savings ledger and the simulator; the routes that show them are in `gateway`."""
