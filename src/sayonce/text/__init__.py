"""What a text is to an engine: Markdown read aloud, signs as words, ornaments left out and told, scripts that a voice can read; no engines."""
