"""Other people's clients, unchanged, in environments of their own, which `tests/world/run` makes."""
