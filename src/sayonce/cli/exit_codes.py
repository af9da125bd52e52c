"""The codes with which the ``sayonce`` command ends, beside 0."""

from __future__ import annotations

from typing import Final

FAILED: Final = 1
"""The work failed; the same command may succeed later."""
MISUSED: Final = 2
"""The command line or the configuration has to change."""
INTERRUPTED: Final = 130
"""Ended by SIGINT, as shells count it."""
