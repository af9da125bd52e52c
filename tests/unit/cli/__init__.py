"""The command `sayonce`."""
