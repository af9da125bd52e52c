"""Pure parts: no I/O, and no clock of their own."""
