"""The settings of a command: the settings' file, the environment, and the command's own options."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sayonce.cli.output import talk
from sayonce.config import Settings, load_settings, misspelt

Overrides = Mapping[str, str | int | None]
"""Options by the setting that they override, ``store_url`` for ``store.url``; None overrides nothing."""


def settings(config: str | None = None, **overrides: str | int | None) -> Settings:
    """Return the settings, and warn of variables that only look like some.

    Raises:
        ConfigError: naming what is wrong.

    """
    warn_of_misspelt()
    return load(config, **overrides)


def load(config: str | None = None, **overrides: str | int | None) -> Settings:
    """Return the settings; ``store_url="…"`` stands for the setting ``store.url``.

    Raises:
        ConfigError: naming what is wrong.

    """
    return load_settings(config, overrides={name.replace("_", ".", 1): value for name, value in overrides.items()})


def warn_of_misspelt() -> None:
    """Warn of variables of the environment that look like settings and are none."""
    for variable, right in misspelt(os.environ):
        talk("warning: {variable} has no effect: call it {right}", variable=variable, right=right)
