"""Encoders that stream, one for each response format; no decoders."""
