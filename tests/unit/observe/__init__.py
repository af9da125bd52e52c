"""Metrics, logs, traces, the ledger and the simulator."""
