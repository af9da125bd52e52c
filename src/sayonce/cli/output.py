"""Print to people and programs: data on stdout, talk on stderr, figures with units."""

from __future__ import annotations

import logging
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sayonce.cli.language import phrase

if TYPE_CHECKING:
    from sayonce.stores.url import RedisURL, SQLiteURL

_STEP: Final = 1000


def talk(english: str, /, **values: object) -> None:
    """Print a message that is not the command's result on stderr, in the user's language."""
    print(phrase(english, **values), file=sys.stderr, flush=True)


def data(text: str) -> None:
    print(text, flush=True)


def data_json(value: object) -> None:
    import msgspec

    data(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def shown(value: object) -> str:
    """Return a field's value as JSON."""
    import msgspec

    return msgspec.json.encode(value).decode()


@contextmanager
def disabled(logger: str) -> Iterator[None]:
    """Turn a logger off for a while."""
    found = logging.getLogger(logger)
    found.disabled = True
    try:
        yield
    finally:
        found.disabled = False


def table(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and values in two columns."""
    lines = list(rows)
    width = max(_columns(name) for name, _ in lines)
    data("\n".join(f"{name}{'':{width - _columns(name)}}  {value}".rstrip() for name, value in lines))


def _columns(text: str) -> int:
    """Return how many columns of a terminal a text takes: a Chinese character has two."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)


def size(value: float) -> str:
    """Return bytes as people read them, in powers of 1000 as the settings count them."""
    for unit in ("bytes", "kB", "MB"):
        if value < _STEP:
            return f"{value:.0f} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= _STEP
    return f"{value:.1f} GB"


def seconds(value: float) -> str:
    return f"{value * _STEP:.0f} ms" if value < 0.1 else f"{value:.2f} s"  # noqa: PLR2004


def address(store: SQLiteURL | RedisURL | None) -> str:
    """Return the address of a store, without its password."""
    if store is None:
        return phrase("memory, until the process ends")
    path = getattr(store, "path", None)
    return str(path.absolute() if path is not None else getattr(store, "shown", ""))
