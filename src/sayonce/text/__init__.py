"""The text that an engine speaks: Markdown read aloud, signs as words, ornaments left out, scripts; no engines."""
