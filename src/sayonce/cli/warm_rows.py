"""The rows that ``sayonce warm`` works through: read from files or stdin, with what the options add to each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from sayonce.cli.language import phrase
from sayonce.cli.options import pairs, wrong
from sayonce.cli.output import talk
from sayonce.cli.requests import STDIN, read_bytes, read_stdin
from sayonce.errors import ConfigError
from sayonce.warm.rows import Kind, Row, expand, kind_of, most_common, read_rows

_OWN_OPTIONS: Final[dict[str, str | None]] = {
    "input": "a FILE",
    "model": "--engine",
    "voice": "--voice",
    "response_format": "--format",
    "stream": None,
    "stream_format": None,
}


class Rows(msgspec.Struct, frozen=True):
    """The files and options of the command line that make up the rows."""

    files: list[str]
    kind: Kind | None
    voices: list[str]
    format: str | None
    params: list[str]
    top: int | None

    def read(self, fields: dict[str, Any]) -> list[Row]:
        """Return the rows; ``fields`` are for each that does not say them itself.

        Raises:
            BadParameter: an option is wrong.
            ConfigError: a file is wrong, or there is nothing in any.

        """
        if self.files.count(STDIN) > 1:
            raise wrong("stdin can be read once")
        read = [row for name in self.files for row in self._read(name)]
        if self.top is not None:
            read = most_common(read, self.top)
        given = {**fields, "response_format": self.format}
        named = {name: value for name, value in given.items() if value is not None}
        rows = list(expand(read, self.voices, named, pairs(self.params, _OWN_OPTIONS)))
        if not rows:
            raise ConfigError(phrase("there is nothing to say in {files}", files=", ".join(self.files)))
        return rows

    def _read(self, name: str) -> Iterator[Row]:
        kind = self._kind(name)
        file, content = ("stdin", read_stdin()) if name == STDIN else (name, read_bytes(name))
        return read_rows(
            content, file, kind, lambda encoding: talk("{file}: read as {encoding}", file=file, encoding=encoding)
        )

    def _kind(self, name: str) -> Kind:
        kind = self.kind or ("txt" if name == STDIN else kind_of(name))
        if kind is None:
            raise wrong("{file}: its name ends in none of .txt, .csv, .jsonl; say with --as what it is", file=name)
        return kind
