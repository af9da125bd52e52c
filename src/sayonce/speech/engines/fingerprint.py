"""Digests of an engine's files, and versions of the libraries below it: its sound depends on them as on the request."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def digest_of(folder: Path, files: Iterable[Path]) -> str:
    """Digest files below a folder by their names and contents; their order does not matter.

    SHA-256, which processors have instructions for: half a second for each gigabyte.
    """
    digest = hashlib.sha256()
    for file in sorted(files):
        name = str(file.relative_to(folder)).encode()
        with file.open("rb") as content:
            inner = hashlib.file_digest(content, "sha256").digest()
        digest.update(len(name).to_bytes(4) + name + inner)
    return digest.hexdigest()


def below(folder: Path) -> list[Path]:
    """Return every file in a folder and in the folders within."""
    return [path for path in folder.rglob("*") if path.is_file()]


def versions(*packages: str) -> dict[str, str | None]:
    """Return the installed versions of packages, None for one that is not there."""
    return {package: _version(package) for package in packages}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
