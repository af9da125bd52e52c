"""Hyphens and dashes that are a minus or "to", among those that only join or part words."""

from __future__ import annotations

import re
from typing import Final

from sayonce.text.sign_words import CURRENCIES

MINUS: Final = "\N{MINUS SIGN}"
NUMBER: Final = r"(?<!\d)(?<!\d[.,\u00a0\u202f])\d+(?:[.,\u00a0\u202f]\d+)*"
"""It begins where no number has begun: from every digit of a long one, a search would go to its end again."""
MONEY: Final = "".join(CURRENCIES)

_FAR: Final = 24
_BEFORE_A_NUMBER: Final = rf"(?=(?:[{MONEY}]\s?)?(?:[.,]?\d|[½⅓⅔¼¾⅕-⅞∞√∛∜π]))"
_OPENS: Final = r"\s(\[{\"'“‘«„`…=<>≤≥≈≠±×÷*/^:;,|~#—，。：；、！？（《「【"
_HAN_BEFORE_SIGNED: Final = "了为是至到达约于在有低高过"
_MINUS: Final = re.compile(
    rf"(?:(?<=^)|(?<=[{_OPENS}{MONEY}])|(?<=\.\.))[-\u2012\u2013](?!\d+[-\u2012\u2013](?![\d−({MONEY}-])){_BEFORE_A_NUMBER}"
    rf"|(?<=[{_HAN_BEFORE_SIGNED}])-{_BEFORE_A_NUMBER}"
    rf"|(?<=[\u4e00-\u9fff])-(?={NUMBER}\s?[十百千万亿]*[%‰°度元摄米点分亿])"
    rf"|(?<=\d[eE])-(?=\d)"
    rf"|(?<=\d)\s*[-\u2012\u2013]\s*(?={NUMBER}\s*=)"
    rf"|(?<=[\u2012\u2013])-(?=[.,]?\d)"
    rf"|(?:(?<=[²³⁰¹⁴⁵⁶⁷⁸⁹])|(?<=[A-Za-z²³][)\]])|(?<=\d[xyzn])|(?<=UTC)|(?<=GMT))[-\u2013](?=\d)"
    rf"|(?:(?<=^)|(?<=[{_OPENS}\d]))-(?=\([-−]?[\d.,]+\))|(?<=\d\))-(?=\()"
    rf"|(?<=[=(\[<>≤≥≈≠±×÷*/^])\s*-(?=[A-Za-z]\b)|(?:(?<=^)|(?<=\s))-(?=[A-Za-z](?:[²³ⁿ]|\s?[=+*/^<>≤≥≈≠±×÷]))",
    re.MULTILINE,
)
"""A hyphen, or a dash that stands for one, where it is a minus: not in 3-5, 555-1234, 2026-01-13, F-16 or e-mail."""
SUBTRACTION: Final = re.compile(rf"(?<=[0-9A-Za-z)\]²³]){MINUS}|(?<=[0-9A-Za-z)\]] ){MINUS}(?=\s)")

_DOUBLE: Final = re.compile(rf"(?<=[\d%°])--(?=[{MONEY}]?[.,]?\d)")
_ENDS_NEGATIVE: Final = re.compile(rf"(?:^|[\s(\[{{=<>:,/])[-\u2012\u2013−][{MONEY}]?{NUMBER}[%°]?$")
_EQUALS: Final = re.compile(rf"{NUMBER}\s*=")
BETWEEN: Final = re.compile(
    rf"(?:(?<=[\d%‰°′″年月日号度时点{MONEY}])|(?<=\d[A-Za-z])|(?<=\d\s[A-Za-z])|(?<=\d[A-Za-z]{{2}})|(?<=\d\s[A-Za-z]{{2}}))"
    rf"[\u2012\u2013—](?=[{MONEY}]?−?[{MONEY}]?[.,]?\d)"
    rf"|(?<=\d)-(?=−)|(?<=[%‰°])-(?=\d)|(?<=\d)-(?=[{MONEY}]\d)"
)
"""A dash right between numbers; a hyphen, where it cannot be a part of one number."""
_MANY_BEFORE: Final = re.compile(r"\d[-\u2012\u2013][\d.,]+$")
_MANY_AFTER: Final = re.compile(r"[\d.,]*\d[-\u2012\u2013]\d")
_TELEPHONE: Final = re.compile(r"(?<!\d)\d{3}\u2012\d{4}(?!\d)")


def write_minus(text: str) -> str:
    """Return a text in which each hyphen that is a minus is a minus sign."""
    return _MINUS.sub(MINUS, _DOUBLE.sub(_two, text))


def _two(match: re.Match[str]) -> str:
    """Return the signs for two hyphens between numbers: a range's dash, and a minus where that can be."""
    text, start, end = match.string, match.start(), match.end()
    if _EQUALS.match(text, end):
        return MINUS + MINUS
    return f"–{MINUS}" if _ENDS_NEGATIVE.search(text[max(0, start - _FAR) : start]) else "–"


def is_one_of_many(dash: re.Match[str]) -> bool:
    """Whether a dash between numbers is not the only one, or a telephone number's."""
    text, start, end = dash.string, dash.start(), dash.end()
    before = _MANY_BEFORE.search(text, max(0, start - _FAR), start)
    return bool(before or _MANY_AFTER.match(text, end) or _TELEPHONE.match(text, start - 3))


def positions_of_dashes(text: str) -> set[int]:
    """Return the positions of dashes that mean something, for an engine that may pass over them."""
    return {match.start() for pattern in (_MINUS, BETWEEN, _DOUBLE) for match in pattern.finditer(text)}
