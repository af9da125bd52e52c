"""The ``sayonce`` command: reads arguments and prints results, and leaves the work to the packages below."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

from sayonce.cli.exit_codes import FAILED, INTERRUPTED, MISUSED
from sayonce.cli.language import choose, phrase
from sayonce.errors import CallerError, SayonceError, StoreError


def main() -> NoReturn:
    """Run the command line and exit: 0 good, 1 the work failed, 2 wrong usage or configuration."""
    choose(os.environ)
    try:
        _print_anything()
        from sayonce.cli.usage import run

        run()
    except KeyboardInterrupt:  # first, as it may come before the names below are there
        _exit(phrase("interrupted"), INTERRUPTED)
    except StoreError as error:
        _exit(phrase("the store did not do it: {error}", error=error), FAILED)
    except SayonceError as error:
        _exit(error.message, MISUSED if isinstance(error, CallerError) else FAILED)
    except UnicodeEncodeError:  # an argument's bytes that are not UTF-8 come as lone surrogates
        _exit(phrase("an argument is not UTF-8"), MISUSED)
    except OSError as error:  # a full disk behind stdout, no more file handles
        _exit(str(error), FAILED)
    except SystemExit as ending:  # how typer ends, an interrupt included
        _exit(phrase("interrupted") if ending.code == INTERRUPTED else "", ending.code)
    _exit("", 0)


def _print_anything() -> None:
    """Escape the characters that the terminal's encoding lacks: names of files and texts may have any."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # None where it is closed, or something else of a test's
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _exit(message: str, code: int | str | None) -> NoReturn:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:  # the reader has closed the pipe, or the disk is full; the interpreter must not try again
        sys.stdout = None
        code = code or FAILED
    if message:
        with suppress(OSError):  # stderr may be gone as well
            print(f"sayonce: {message}", file=sys.stderr)
    sys.exit(code)
