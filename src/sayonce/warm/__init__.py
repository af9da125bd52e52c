"""Clips and features that are made ahead from rows of a file: by engines of this process, or through a gateway; no command line."""
