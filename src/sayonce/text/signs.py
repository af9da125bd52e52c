"""The signs of a text: characters that mean something and are no letter that a voice reads."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from sayonce.text.combining_marks import MEANT
from sayonce.text.dashes import MINUS, positions_of_dashes

PLAIN_SIGNS: Final = str.maketrans(
    {
        "\u2010": "-", "\u2011": "-", "－": "-", "﹣": "-", "﬩": "+", "＋": "+", "﹢": "+", "＜": "<", "﹤": "<", "＞": ">",
        "﹥": ">", "＝": "=", "﹦": "=", "％": "%", "﹪": "%", "٪": "%", "؉": "‰", "＄": "$", "﹩": "$", "￠": "¢", "￡": "£",
        "￥": "¥", "￦": "₩", "￢": "¬", "℃": "°C", "℉": "°F", "∼": "~", "≦": "≤", "≧": "≥", "⩽": "≤", "⩾": "≥",
        "≒": "≈", "≃": "≈", "➕": "+", "➖": MINUS, "✖": "×", "➗": "÷", "✕": "×", "⨯": "×", "₊": "+", "₋": MINUS, "₌": "=",
        "₀": "0", "₁": "1", "₂": "2", "₃": "3", "₄": "4", "₅": "5", "₆": "6", "₇": "7", "₈": "8", "₉": "9", "˗": MINUS,
        "∟": "∠", "⅟": "1⁄", "｜": "|", "﹨": "\\", "∙": "•", "＃": "#", "﹟": "#", "＆": "&", "﹠": "&", "＠": "@", "﹫": "@", "＊": "*",
        "﹡": "*", "＼": "\\", "／": "/", "＾": "^", "ˆ": "^", "＿": "_", "｀": "`", "ˋ": "`", "´": "'", "΄": "'", "ʼ": "'", "ʻ": "'",
        "ʽ": "'", "ʹ": "′", "ʺ": "″", "˚": "°", "˜": "~", "〜": "～", "꞉": ":", "꞊": "=", "٭": "*",
    }
)  # fmt: skip
"""The variants of signs, such as full-width ones, and the plain sign that each is read as."""
SIGN: Final = re.compile(
    "[-+=<>~%$^|*\\\\]|[^\\x00-\\x7f\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0391-\u03a1\u03a3-\u03f5\u0400-\u0481\u048a-\u052f"
    "\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3]"
)
"""Characters that may be signs: all but the most common letters."""
_FIRST_OTHER: Final = "\u0530"
_LAST_PLANE_0: Final = "\uffff"
_FORMS: Final = re.compile("MODIFIER|SUPERSCRIPT|LATIN")
_RARE: Final = re.compile("[\U0001df00-\U0001df2f\U0002a6d7-\U0002a6df\U0002b735-\U0002b738\U00030000-\U000323af]")
"""Letters of scripts that are read, which espeak-ng passes over."""
CYRILLIC: Final = re.compile(
    "[\u0400\u0402\u0403\u0405\u0408-\u040d\u040f\u0450\u0452\u0453\u0455\u0458-\u045d\u045f-\u0481\u048a-\u048f\u0492-\u052f]"
)
_BETWEEN: Final = frozenset("–‒—·|*~^")
TIMES: Final = re.compile(
    r"(?<=[\d)\]])\s*\*\s*(?=[\d(\[.√π−])|(?<=\b[A-Za-z])\*(?=[A-Za-z0-9]\b|[−(])|(?<=\b[A-Za-z\d])\s\*\s(?=\w)"
)
DOT: Final = re.compile(
    r"(?<=[\d)\]])\s?·\s?(?=[\d(\[√π−])|(?<=\b[A-Za-z])\s?·\s?(?=(?:[A-Za-z]\b|\d|[(√−]))|(?<=\d)\s?·\s?(?=[A-Za-z]\b)"
)
"""A middle dot in a product; between words it is punctuation."""
BAR: Final = re.compile(r"(?<=\S)\||\|(?=\S)")
JOINT: Final = re.compile(r"(?<=[^\W_])_+(?=[^\W_])")
_HASH: Final = re.compile(r"#(?=\d)")
_DASHES: Final = frozenset("-‐‑‒–—―⁓゠⸺⸻﹘﹣－֊־᐀᠆⸗⸚⹀⹝︱︲\U00010ead")
_PAUSES: Final = frozenset(
    "|'`~～*¡¿·՚՛՜՝՞՟։׀׃׆׳״،؍؛؞؟۔।॥๏๚๛‥…‧‸‼‽⁇⁈⁉⁏、。〃・︐︑︒︓︔︕︖︙︰﹅﹆﹐﹑﹒﹔﹕﹖﹗！＂＇，．：；？｡､･＇"
)
_PUNCTUATION: Final = _DASHES | _PAUSES
"""Reviewed: dashes, separators and other punctuation, heard as a pause, where they are heard."""
_WORDED: Final = frozenset("#%&*/@\\§¶‰‱؊′″‴⁊")
"""Characters that Unicode counts as punctuation and that are spoken: a hash, per cent, and, at."""
_BRACKETS: Final = frozenset(("Ps", "Pe", "Pi", "Pf", "Zs", "Zl", "Zp", "Cc", "Nd"))
_JOINERS: Final = frozenset("\u200b\u200c\u200d")
_UNKNOWN: Final = frozenset(("Co", "Cn", "Cs"))


@lru_cache(maxsize=4096)
def plain_form(character: str) -> str | None:
    """Return the letters that a character is a form of; None where it is none."""
    plain = unicodedata.normalize("NFKC", character)
    return plain if plain != character and plain.strip("()").isalnum() and plain < _FIRST_OTHER else None


@lru_cache(maxsize=8192)
def is_sign(character: str) -> bool:
    """Whether a character may mean something, and is no letter that a voice reads: a symbol, a numeral, a letter's form."""
    category = unicodedata.category(character)
    if character in _PUNCTUATION or character in _JOINERS or category in _BRACKETS:
        return False
    if category == "Lm":
        return _FORMS.match(unicodedata.name(character, "")) is not None or character > _LAST_PLANE_0
    if category[0] == "L":
        return plain_form(character) is not None or _RARE.match(character) is not None
    if category[0] == "M":
        return category == "Me" or MEANT.match(character) is not None
    return True


def is_punctuation(character: str) -> bool:
    """Whether a character is punctuation: a pause where it is heard at all, and no sign that has words."""
    return unicodedata.category(character)[0] == "P" and character.translate(PLAIN_SIGNS) not in _WORDED


def count_signs(text: str) -> int:
    """Return how many signs a text has that take time to spell."""
    return sum(each in _BETWEEN or is_sign(each) for each in SIGN.findall(text)) + text.count("_") + text.count("/")


def unknown(text: str) -> str | None:
    """Return the first character of a text that has no meaning of its own: a private or unassigned one."""
    return next((each for each in dict.fromkeys(text) if unicodedata.category(each) in _UNKNOWN), None)


def signs_of(text: str) -> list[int]:
    """Return the positions of signs that an engine may pass over, and of hyphens and dashes that are a minus or "to"."""
    found = {match.start() for match in SIGN.finditer(text) if is_sign(match[0])}
    for pattern in (JOINT, BAR, DOT, TIMES, _HASH):
        found.update(match.start() for match in pattern.finditer(text))
    found.update(positions_of_dashes(text))
    return sorted(found.union(_rare_letters(text)))


def _rare_letters(text: str) -> list[int]:
    """Return where Cyrillic letters of few languages are, which others' voices pass over: each first in and within a word."""
    found: dict[tuple[str, bool], int] = {}
    for match in CYRILLIC.finditer(text):
        found.setdefault((match[0], text[match.start() - 1 : match.start()].isalpha()), match.start())
    return list(found.values())
