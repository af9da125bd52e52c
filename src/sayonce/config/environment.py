"""The environment variables: the name of each setting's, and names that are misspelt."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from sayonce.config.settings import Settings

ENVIRONMENT_PREFIX: Final = "SAYONCE_"
FILE_VARIABLE: Final = "SAYONCE_CONFIG"
"""Names the file where ``--config`` does not."""
WORKERS_VARIABLE: Final = "SAYONCE_WORKERS"
"""Names the directory that the workers of one server share."""


def variable_of(setting: str) -> str:
    """Return the environment variable that sets a setting."""
    return ENVIRONMENT_PREFIX + setting.replace(".", "__").upper()


def misspelt(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each variable that lacks the second underscore between section and setting, with its right name.

    Such a variable is no error: Kubernetes sets ``SAYONCE_SERVER_PORT`` for a service called ``sayonce-server``.
    """
    named = [
        f"{section.name}.{field}"
        for section in msgspec.structs.fields(Settings)
        for field in getattr(section.type, "__struct_fields__", ())
    ]
    right = {ENVIRONMENT_PREFIX + name.replace(".", "_").upper(): variable_of(name) for name in named}
    for variable in environment:
        if variable in right:
            yield variable, right[variable]
        elif variable.startswith(f"{ENVIRONMENT_PREFIX}ENGINES_") and "__" not in variable:
            yield variable, variable_of("engines.name.option")


def workers_directory(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the directory that this server's processes share; None when there is one process."""
    named = environment.get(WORKERS_VARIABLE)
    return Path(named) if named else None
