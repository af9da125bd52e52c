"""The language of messages for people: Chinese where the locale says so, else English.

A table of phrases, and no gettext: there is one other language and no plural in it, a ``.mo`` file would need a step of
the build, and a reviewer sees both languages side by side. JSON, field names and log lines stay English.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sayonce.cli.chinese import PHRASES

_VARIABLES: Final = ("LC_ALL", "LC_MESSAGES", "LANG")
"""The first that is set counts (POSIX, section 8.2)."""


class _Chosen:
    chinese = False


def choose(environment: Mapping[str, str]) -> None:
    """Choose the language that the locale names."""
    named = next((environment[name] for name in _VARIABLES if environment.get(name)), "")
    _Chosen.chinese = named.lower().startswith("zh")


def choose_english(value: bool) -> bool:
    """Print English from now on if ``--json`` is given: a program reads it."""
    if value:
        _Chosen.chinese = False
    return value


def chinese() -> bool:
    return _Chosen.chinese


def phrase(english: str, /, **values: object) -> str:
    """Return a phrase in the chosen language, with its values; one that has no translation stays as it is."""
    text = PHRASES.get(english, english) if _Chosen.chinese else english
    return text.format(**values) if values else text
