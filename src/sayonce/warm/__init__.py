"""Clips and features made ahead from rows of files, by engines of this process or by a gateway; no command line."""
