"""The name that was probably meant by one that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final

_PARTING: Final = re.compile(r"[\s_.-]+")
_SHORTEST, _LONGEST = 4, 64
"""Characters of a name in which a typing error can be told from another name, and is looked for in little time."""
_COMPARED: Final = 20
_ALIKE: Final = 0.6
_TAG: Final = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,32}){0,8}")
"""Also what only begins like a tag, as the names of voices at some services do: zh-CN-XiaoxiaoNeural."""


def nearest(asked: str, names: Iterable[str]) -> str | None:
    """Return the name that is the same but for case, blanks and separators, or but for a few letters."""
    meant, folded = _folded(asked), {_folded(name): name for name in names}
    if meant in folded:
        return folded[meant]
    if not _SHORTEST <= len(meant) <= _LONGEST:
        return None
    close = [name for name in folded if name[:2] == meant[:2] or name[-2:] == meant[-2:]]
    close.sort(key=lambda name: abs(len(name) - len(meant)))
    return next((folded[name] for name in get_close_matches(meant, close[:_COMPARED], 1, _ALIKE)), None)


def shorter_tags(asked: str) -> Iterator[str]:
    """Yield a language's BCP 47 tag in lower case, then without its last subtags (RFC 4647 section 3.4)."""
    tag = asked.strip().lower().replace("_", "-")
    if _TAG.fullmatch(tag):
        subtags = tag.split("-")
        for length in range(len(subtags), 0, -1):
            yield "-".join(subtags[:length])


def did_you_mean(name: str | None) -> str:
    """Return the end of a message, empty where there is nothing to suggest."""
    return "" if name is None else f"; did you mean {name!r}?"


def _folded(name: str) -> str:
    return _PARTING.sub("-", name.strip()).casefold()
