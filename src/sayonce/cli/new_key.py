"""``sayonce new-key``: make an API key."""

from __future__ import annotations

import os
from pathlib import Path

from sayonce.cli.language import phrase
from sayonce.cli.output import data, talk
from sayonce.errors import ConfigError
from sayonce.gateway import access


def new_key(tenant: str, *, admin: bool, file: Path | None) -> None:
    """Print a new key, and keep its digest.

    Raises:
        ConfigError: the tenant's name is unusable, or the file cannot be written.

    """
    key, line = access.new_key(tenant, admin=admin)
    if file is None:
        talk("add this line to the file that security.api_keys_file names:\n{line}", line=line)
    else:
        _append(file, line)
        talk(
            "{file}: added a key of {tenant!r}; servers read it when they start, and at SIGHUP",
            file=file,
            tenant=tenant,
        )
    if admin:
        talk("it has the right 'admin' over the clips of all tenants: give it to the operator, and to no tenant")
    data(key)


def _append(file: Path, line: str) -> None:
    try:
        with os.fdopen(os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "r+b") as keys:
            separator = b"" if _ends_line(keys.read()) else b"\n"
            keys.write(separator + line.encode() + b"\n")
    except OSError as error:
        reason = phrase(error.strerror or str(error))
        raise ConfigError(phrase("--file: cannot write {file}: {reason}", file=file, reason=reason)) from None


def _ends_line(content: bytes) -> bool:
    return not content or content.endswith(b"\n")
