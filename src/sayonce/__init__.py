"""Compute speech once, reuse it many times."""

from sayonce._version import __version__

__all__ = ["__version__"]
