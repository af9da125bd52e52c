"""Settings: where they come from, and what is said of wrong ones."""
