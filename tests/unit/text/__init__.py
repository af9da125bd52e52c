"""What of a text is spoken."""
