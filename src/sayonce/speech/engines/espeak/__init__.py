"""The engine `espeak`: voices of espeak-ng in a process of their own, and what of a text they can read."""
