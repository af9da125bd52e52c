"""Engines: each kind, and what speech servers answer."""
