"""Ornaments, which a text shows and no reader says: emoji, bullets, rules, arrows; and invisible characters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_PICTURES: Final = (
    "\u00ae\u2120\u2122\u2117\u212e"  # registered, service mark, trademark, sound recording, estimated
    "\u00a6\u2020-\u2023\u203b\u2042\u2043\u204c\u204d\u2051\u2219\u25e6"  # broken bar, daggers, bullets, reference marks
    "\u2190-\u21ff\u27f0-\u27ff\u2900-\u297f\u2b00-\u2bff"  # arrows
    "\u2300-\u231f\u2322-\u237b\u237d-\u239a\u23b4-\u23db\u23e2-\u23ff"  # keys, clocks, technical drawings
    "\u2500-\u25ff"  # boxes, blocks, geometric shapes
    "\u2600-\u266c\u2670-\u27bf"  # miscellaneous symbols and dingbats, but flat, natural and sharp
    "\u3004\u3012\u3013\u3020\u3030\u3036\u303d\u303e\u303f\u3297\u3299"
    "\u4dc0-\u4dff\u2800-\u28ff\ufffc\ufffd"  # hexagrams, Braille patterns, what replaces something else
    "\U0001f000-\U0001faff\U0001fb00-\U0001fbff"  # tiles, cards, squared letters, flags, emoji, old computers' graphics
)
_DRESS: Final = "\ufe0e\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"
"""Characters that follow a picture and belong to it: how it is shown, the tone of skin, a region of a flag."""
_PICTURE: Final = rf"[{_PICTURES}][{_DRESS}]*"

_NOTE: Final = r"(?:(?<=[^\W\d_][^\W\d_])(?![²³](?![⁰¹²³⁴-⁹]))|(?<=[.,;:!?…”’»]))[⁰¹²³⁴-⁹]+"
"""The number of a note behind a word or a clause; ``km²`` is none."""

_ORNAMENT: Final = (
    rf"(?:[\U0001f1e6-\U0001f1ff]{{2}}"
    rf"|[©™®‼⁉ℹ㊗㊙]\ufe0f"
    rf"|{_PICTURE}(?:\u200d{_PICTURE})*"
    rf"|<?(?:-+|=+)>|<-+(?![-.\d])|={{3,}}|\*{{3,}}|~{{3,}}|\^_+\^|{_NOTE})"
)
"""Also arrows and rules that are made of several signs; ``<=`` and ``>=`` are comparisons, and read before."""


def _runs(ornament: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return a pattern for ornaments with the space around them, and one for each of them."""
    return re.compile(rf"[^\S\n]*({ornament}(?:[^\S\n]*{ornament})*)[^\S\n]*"), re.compile(ornament)


_ORNAMENTS: Final = _runs(_ORNAMENT)
_MARKERS: Final = _runs(r"[*~～_]")
"""Signs that are marks where they are neither times nor about nor to: of a list, of emphasis, of a drawn-out vowel, of a
blank to fill in."""
_MAY_BE: Final = re.compile(rf"[{_PICTURES}\u20e3\ufe0f]|->|=>|<-|<=|===|\*\*\*|~~~|\^_|[⁰¹²³⁴-⁹]")
_MAY_MARK: Final = re.compile("[*~～_]")
_OPERATORS: Final = {"✕": "×", "✖": "×", "❌": "×", "➕": "+", "➖": "−", "➗": "÷"}
_OPERATOR: Final = re.compile(r"(?:(?<=[\d)\]])|(?<=[\d)\]]\s))[✕✖❌➕➖➗]\ufe0f?(?=\s?[\d(\[√π−-])")
"""Dingbats between numbers."""
_CLOSES: Final = frozenset(".,;:!?…)]}»”，。！？；：、）》」』\n")

_UNSEEN: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]+"
)
_JOINERS: Final = "\u200c\u200d"
_JOINED: Final = re.compile(
    "[\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ua840-\ua87f\ufb50-\ufdff\ufe70-\ufefc]"
)
"""Scripts in which a joiner shapes the letters: Arabic, Syriac, Mongolian and those of India."""
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
"""Scripts in which a zero-width space tells where a word ends: Thai, Lao, Burmese, Khmer."""


def leave_out_ornaments(text: str) -> tuple[str, tuple[str, ...]]:
    """Return a text without its ornaments, and each of these once, in their order."""
    text = _OPERATOR.sub(lambda match: _OPERATORS[match[0][0]], text)
    return _left_out(text, _ORNAMENTS) if _MAY_BE.search(text) else (text, ())


def leave_out_markers(text: str) -> tuple[str, tuple[str, ...]]:
    """Return a text without the marks that its signs' words have left, and these."""
    return _left_out(text, _MARKERS) if _MAY_MARK.search(text) else (text, ())


def _left_out(text: str, runs: tuple[re.Pattern[str], re.Pattern[str]]) -> tuple[str, tuple[str, ...]]:
    found: dict[str, None] = {}

    def left_out(match: re.Match[str]) -> str:
        found.update(dict.fromkeys(each[0] for each in runs[1].finditer(text, match.start(1), match.end(1))))
        before, after = (
            text[match.start() - 1 : match.start()] if match.start() else "",
            text[match.end() : match.end() + 1],
        )
        if before in ("", "\n") or not after or after in _CLOSES:
            return ""
        return "" if match[0].strip("*~～_") == "" else " "  # **bold**ness

    return runs[0].sub(left_out, text), tuple(found)


def told(ornaments: Iterable[str], most: int) -> str:
    """Return ornaments by their code points, the first ``most`` of them; blocks of code by that word."""
    names = [
        ornament if ornament.isalpha() and ornament.isascii() else " ".join(f"U+{ord(each):04X}" for each in ornament)
        for ornament in ornaments
    ]
    return ", ".join([*names[:most], "..."] if len(names) > most else names)


def leave_out_unseen(text: str) -> str:
    """Return a text without the invisible characters that no letter beside them needs."""
    return text if text.isascii() else _UNSEEN.sub(_needed, text)


def _needed(match: re.Match[str]) -> str:
    text, run = match.string, match[0]
    before, after = (
        text[match.start() - 1 : match.start()] if match.start() else "",
        text[match.end() : match.end() + 1],
    )
    if "\u200b" in run and _UNSPACED.match(before) and _UNSPACED.match(after):
        return "\u200b"
    return "".join(each for each in run if each in _JOINERS) if _JOINED.match(before) else ""
