"""Sound as bytes: what comes in, what goes out, and what makes two recordings one voice."""
