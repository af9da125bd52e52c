"""Requests, their keys, and voices."""
