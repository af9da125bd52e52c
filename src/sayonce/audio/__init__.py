"""Sound as bytes: formats, decoding, encoding, resampling, and the identity of a voice; no engine, no cache.

Only the formats are exported here, so that reading about them imports no codec.
"""

from sayonce.audio.formats import FORMATS, RENDERINGS, Format, format_named

__all__ = ["FORMATS", "RENDERINGS", "Format", "format_named"]
