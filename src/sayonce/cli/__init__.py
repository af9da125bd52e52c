"""The ``sayonce`` command; here every failure becomes one clear line and an exit code."""

from __future__ import annotations

import sys
from typing import Final, NoReturn

from sayonce.errors import CallerError, SayonceError, StoreError

FAILED: Final = 1
"""The work failed; the same command may succeed later."""
MISUSED: Final = 2
"""The command line or the configuration has to change."""
INTERRUPTED: Final = 130
"""Ended by SIGINT, as shells count it."""


def main() -> NoReturn:
    """Run the command line and exit: 0 good, 1 the work failed, 2 wrong usage or configuration."""
    try:
        from sayonce.cli.app import app

        app(prog_name="sayonce")
    except KeyboardInterrupt:  # first, as it may come before the names below are there
        _exit("interrupted", INTERRUPTED)
    except StoreError as error:
        _exit(f"the store did not do it: {error}", FAILED)
    except SayonceError as error:
        _exit(error.message, MISUSED if isinstance(error, CallerError) else FAILED)
    except OSError as error:  # a full disk behind stdout, no more file handles
        _exit(str(error), FAILED)
    except SystemExit as ending:  # how typer ends, an interrupt included
        _exit("interrupted" if ending.code == INTERRUPTED else "", ending.code)
    _exit("", 0)


def _exit(message: str, code: int | str | None) -> NoReturn:
    try:
        sys.stdout.flush()
    except OSError:  # whoever read our output has seen enough, or cannot take it; the interpreter must not try again
        sys.stdout = None
        code = code or FAILED
    if message:
        print(f"sayonce: {message}", file=sys.stderr)
    sys.exit(code)
