"""What earlier releases have written, and this one must read: vectors of the formats, and a whole store of each release."""
