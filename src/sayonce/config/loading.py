"""Load the settings: a TOML file, then the environment, then the command line; an error names a wrong setting and its origin."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from sayonce.config.environment import ENVIRONMENT_PREFIX, FILE_VARIABLE
from sayonce.config.files import read_file
from sayonce.config.messages import shown, wrong_values
from sayonce.config.quantities import read_quantity
from sayonce.config.settings import Settings
from sayonce.errors import ConfigError

DEFAULT_FILE: Final = "sayonce.toml"
_OPTIONS: Final = {"trace.file": "--trace", "store.url": "--store", "bodies.url": "--bodies"}
"""Settings that a command-line option of another name sets."""


def load_settings(
    path: str | None = None, *, environment: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Read the settings.

    Args:
        path: the TOML file; the default is in ``settings_file``.
        environment: ``SAYONCE_…`` variables, ``__`` between levels; by default the process's own.
        overrides: the command line's options, by dotted name; None values are skipped.

    Raises:
        ConfigError: a setting is wrong; the message names the file or variable, the setting, and the right values.

    """
    environment = os.environ if environment is None else environment
    layers = _Layers()
    if (file := settings_file(path, environment)) is not None:
        layers.add_file(*file)
    layers.add_environment(environment)
    for name, value in (overrides or {}).items():
        if value is not None:
            layers.set(name.split("."), value, _OPTIONS.get(name, f"--{name.rpartition('.')[2]}"))
    return layers.settings()


def settings_file(path: str | None, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the file to read, and where its name came from: ``--config``, SAYONCE_CONFIG, or ``sayonce.toml`` in this directory."""
    if path is not None:
        return path, "--config"
    if environment.get(FILE_VARIABLE):
        return environment[FILE_VARIABLE], FILE_VARIABLE
    return (DEFAULT_FILE, DEFAULT_FILE) if Path(DEFAULT_FILE).exists() else None


class _Layers:
    """Settings on top of one another, and the origin of each."""

    def __init__(self) -> None:
        self._tree: dict[str, Any] = {}
        self._origins: dict[str, str] = {}

    def add_file(self, path: str, named_by: str) -> None:
        try:
            tree = tomllib.loads(read_file(path, named_by).decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from None
        except ValueError as error:  # also of a number with thousands of digits, which tomllib has no error for
            raise ConfigError(f"{path}: not TOML: {error}") from None
        except RecursionError:
            raise ConfigError(f"{path}: not TOML: too many levels of lists or tables") from None
        security = tree.get("security")
        if isinstance(security, dict) and "key_secret" in security:
            raise ConfigError(
                f"{path}: security.key_secret: a secret does not belong in this file; use security.key_secret_file, or "
                f"{ENVIRONMENT_PREFIX}SECURITY__KEY_SECRET in the environment"
            )
        self._tree = tree
        self._origins[""] = path

    def add_environment(self, environment: Mapping[str, str]) -> None:
        for variable, value in environment.items():
            if variable.startswith(ENVIRONMENT_PREFIX) and "__" in variable:
                if not value.isascii() and not _is_unicode(value):
                    raise ConfigError(f"{variable}: must be in UTF-8")
                self.set(variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"), value, variable)

    def set(self, names: list[str], value: Any, origin: str) -> None:
        section = self._tree
        for name in names[:-1]:
            section = section.setdefault(name, {})
            if not isinstance(section, dict):
                raise ConfigError(f"{origin}: {name} is a setting, not a section")
        section[names[-1]] = value
        self._origins[".".join(names)] = origin

    def settings(self) -> Settings:
        for name in _with_nul(self._tree):
            raise ConfigError(f"{self._origin(name)}: {name} has a NUL character, which no file or address has")
        try:
            return msgspec.convert(self._tree, Settings, strict=False, dec_hook=read_quantity)
        except msgspec.ValidationError as error:
            raise ConfigError(self._explain(str(error))) from None

    def _explain(self, message: str) -> str:
        """Name the setting in msgspec's message, which has the form ``what is wrong - at `$.store` ``."""
        what, _, where = message.partition(" - at `$")
        section = where.rstrip("`").lstrip(".")
        if unknown := re.search(r"unknown field `(.*?)`", what):
            name = f"{section}.{unknown[1]}" if section else unknown[1]
            what = f"is no setting; there is: {_choices(section)}"
        elif found := next(wrong_values(self._tree, Settings, "", read_quantity), None):
            name, what = found
        else:  # a section's own words: "port must be …"
            field, _, what = what.partition(" ")
            name, what = f"{section}.{field}", f"{what}, not {shown(self._tree[section][field])}"
        return f"{self._origin(name)}: {name} {what}"

    def _origin(self, name: str) -> str:
        """Return the origin of a setting, or of any setting within a section."""
        name = name.partition("[")[0]
        within = (origin for set_, origin in self._origins.items() if set_.startswith(f"{name}."))
        return self._origins.get(name) or next(within, self._origins.get("", "settings"))


def _with_nul(value: Any, name: str = "") -> Iterator[str]:
    """Yield the names of settings with a NUL character, which no system call takes."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _with_nul(part, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list):
        for part in value:
            yield from _with_nul(part, name)
    elif isinstance(value, str) and "\0" in value:
        yield name


def _is_unicode(value: str) -> bool:
    """Whether a value is text: Python reads a variable's bytes that are not UTF-8 as lone surrogates."""
    return not any("\ud800" <= each <= "\udfff" for each in value)


def _choices(section: str) -> str:
    struct = next((field.type for field in msgspec.structs.fields(Settings) if field.name == section), Settings)
    return ", ".join(field.name for field in msgspec.structs.fields(struct))
