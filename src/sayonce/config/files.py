"""Read a file that a setting names, with an error that names both."""

from __future__ import annotations

from pathlib import Path

from sayonce.errors import ConfigError, quoted


def read_file(path: str, setting: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{setting}: no file can be called {quoted(path)}") from None
