"""How an engine that is shared by many requests is asked: its slots and queue, its servers and their health; no engine."""
