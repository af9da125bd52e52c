"""Encoders that stream, one for each format that clients may ask for; what is decoded is in `decode`."""
