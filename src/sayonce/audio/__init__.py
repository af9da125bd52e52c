"""Sound as bytes: formats, decoding, encoding, resampling, and what makes two recordings one voice; no engine, no cache."""
