"""Spell the signs of a text: what an engine gets for a sign is what it gets for the sign's words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from sayonce.text import tables
from sayonce.text.tables import CURRENCIES, LANGUAGES, MEASURES, Forms

MINUS: Final = "\N{MINUS SIGN}"

_SAME: Final = str.maketrans(
    {
        "\u2010": "-", "\u2011": "-", "－": "-", "﹣": "-", "﬩": "+", "＋": "+", "﹢": "+", "＜": "<", "﹤": "<", "＞": ">",
        "﹥": ">", "＝": "=", "﹦": "=", "％": "%", "﹪": "%", "٪": "%", "؉": "‰", "＄": "$", "﹩": "$", "￠": "¢", "￡": "£",
        "￥": "¥", "￦": "₩", "￢": "¬", "℃": "°C", "℉": "°F", "∼": "~", "≦": "≤", "≧": "≥", "⩽": "≤", "⩾": "≥",
        "≒": "≈", "≃": "≈", "➕": "+", "➖": MINUS, "✖": "×", "➗": "÷", "✕": "×", "⨯": "×", "₊": "+", "₋": MINUS, "₌": "=",
        "₀": "0", "₁": "1", "₂": "2", "₃": "3", "₄": "4", "₅": "5", "₆": "6", "₇": "7", "₈": "8", "₉": "9", "˗": MINUS,
        "∟": "∠", "｜": "|", "﹨": "\\", "∙": "•",
    }
)  # fmt: skip
"""Signs that are another one in another dress."""
_WRITTEN: Final = {"!=": "≠", "<=": "≤", ">=": "≥", "+/-": "±", "+-": "±", "==": "=", "℃": "°C"}
_IN_ASCII: Final = re.compile(r"!=|(?<![<=])<=(?![=>])|(?<![=>])>=(?![=>])|\+/-|(?<!\+)\+-(?=\d)|(?<![<>=!])==(?!=)")

_NUMBER: Final = r"\d+(?:[.,\u00a0\u202f]\d+)*"
_MONEY: Final = "".join(CURRENCIES)
_BEFORE_A_NUMBER: Final = rf"(?=(?:[{_MONEY}]\s?)?(?:[.,]?\d|[½⅓⅔¼¾⅕-⅞∞√∛∜π]))"
_OPENS: Final = r"\s(\[{\"'“‘«„=<>≤≥≈≠±×÷*/^:;,|~，。：；、！？（《「【"
_HAN_BEFORE_SIGNED: Final = "了为是至到达约于在有低高过"
_MINUS: Final = re.compile(
    rf"(?:(?<=^)|(?<=[{_OPENS}{_MONEY}]))[-\u2012\u2013](?!\d+[-\u2012\u2013](?!\d)){_BEFORE_A_NUMBER}"
    rf"|(?<=[{_HAN_BEFORE_SIGNED}])-{_BEFORE_A_NUMBER}"
    rf"|(?<=[\u4e00-\u9fff])-(?={_NUMBER}\s?[十百千万亿]*[%‰°度元摄米点分亿])"
    rf"|(?<=\d[eE])-(?=\d)"
    rf"|(?<=\d)\s*-\s*(?={_NUMBER}\s*=)"
    rf"|(?<==)\s*-(?=[A-Za-z]\b)",
    re.MULTILINE,
)
"""A hyphen, or a dash that stands for one, where it is a minus: not in 3-5, 555-1234, 2026-01-13, F-16 or e-mail."""
_SUBTRACTION: Final = re.compile(rf"(?<=[0-9A-Za-z)\]]){MINUS}|(?<=[0-9A-Za-z)\]] ){MINUS}(?=\s)")
_SUPERSCRIPT: Final = re.compile(r"(?<=[\w)\]])[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_IS_A_POWER: Final = re.compile(r"(?:\d|\b[A-Za-z]|[)\]])$")
_FRACTION: Final = re.compile(r"(\d\s?)?([½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞⅐⅑⅒])")
_TIMES: Final = re.compile(
    r"(?<=[\d)\]])\s*\*\s*(?=[\d(\[.√π−])|(?<=\b[A-Za-z])\*(?=[A-Za-z0-9]\b|[−(])|(?<=\b[A-Za-z\d])\s\*\s(?=\w)"
)
_POWER: Final = re.compile(r"(?<=[\w)\]])\s?\^\s?(?=[\w−({])(−?\d+|)")
_RANGE: Final = re.compile(r"(?<=[\d%°])\s?[~～〜]\s?(?=[−]?\d)")
_ABOUT: Final = re.compile(rf"(?<![\w~～])[~～](?=[{_MONEY}]?{MINUS}?\d)|(?<=[\u4e00-\u9fff])[~～](?=\d)")
_DEGREE: Final = re.compile(r"(?:°|º)\s?([CF])(?![A-Za-z])")
_FRENCH_NUMBER: Final = re.compile(r"\b[nN]°\s?")
_STARTS_WORD: Final = re.compile(r"[^\s.,;:!?)\]}”’»…。，！？；：、）》」』-]|\.\d")
_DRESSED: Final = re.compile("[\u2460-\u249b\U0001d400-\U0001d7ff]")
"""Numbers in circles or brackets, and letters as mathematicians set them."""
_SIGN: Final = re.compile(r"[^\w\s.,;:!?'\"()\[\]{}&@#/\\`_-]")
_LETTERS: Final = {"k": " thousand", "m": " million", "b": " billion"}

_ASCII_SIGNS: Final = re.compile(r"[-+*=<>~%$^]")
_PUNCTUATION: Final = frozenset("|‐‒–—―⁓〜〰゠⸺⸻﹘֊־᐀᠆⸗⸚⹀⹝︱︲")
"""Dashes and separators: heard as a pause, where they are heard."""
_SPOKEN_TOO: Final = frozenset("%‰‱§¶℅")
"""Signs that Unicode counts as punctuation."""


class Unspeakable(Exception):
    """A sign for which there are no words in the language; the argument is the sign."""


def spell(text: str, language: str, *, own_money: str = "") -> str:
    """Return a text with its signs as words.

    ``own_money`` are the currencies that the engine reads by itself where they stand before a number.

    Raises:
        Unspeakable: there are no words for one.

    """
    if text.isascii() and not _ASCII_SIGNS.search(text):
        return text
    return _speller(language, own_money)(text)


@lru_cache(maxsize=16)
def _speller(language: str, own_money: str) -> Callable[[str], str]:
    return _Speller(language, own_money).spell


class _Speller:
    """The rules of one language."""

    def __init__(self, language: str, own_money: str) -> None:
        self._language = language
        self._column = LANGUAGES.index(language)
        self._glue = "" if language == "cmn" else " "
        self._words = {sign: row[self._column] for sign, row in tables.WORDS.items()}
        self._measures = self._of(MEASURES)
        self._money = self._of(CURRENCIES)
        self._alone = {
            sign: forms[-1] if "{}" in forms[0] else forms[0] for sign, forms in (self._measures | self._money).items()
        }
        scale = (
            rf"(?P<scale>\s?(?:{tables.SCALES[language]})(?!\w))?"
            if language != "cmn"
            else r"(?P<scale>[十百千万亿]+)?"
        )
        own = rf"(?<=[A-Za-z])[{re.escape(own_money)}]|" if own_money else ""
        foreign = "".join(set(self._money) - set(own_money))
        money, foreign = f"[{re.escape(_MONEY)}]", f"{own}[{re.escape(foreign)}]"
        self._before = re.compile(
            rf"(?P<sign>{foreign})\s?(?P<minus>{MINUS}?)(?P<number>{_NUMBER}(?:[-–]{_NUMBER})?){scale}"
        )
        self._behind = re.compile(rf"(?P<minus>)(?P<number>{_NUMBER}){scale}\s?(?P<sign>{money})")
        self._measured = re.compile(rf"({_NUMBER})\s?(°[CF]|[{''.join(set(''.join(self._measures)) - set('CF'))}])")
        self._own_money = re.compile(rf"(?<![A-Za-z])[{re.escape(own_money)}]\s?{_NUMBER}") if own_money else None

    def _of(self, table: Mapping[str, tuple[Forms, ...]]) -> dict[str, Forms]:
        return {sign: row[self._column] for sign, row in table.items()}

    def spell(self, text: str) -> str:
        text = _DRESSED.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
        text = _IN_ASCII.sub(lambda match: _WRITTEN[match[0]], text.translate(_SAME))
        if self._language == "fr":
            text = _FRENCH_NUMBER.sub("numéro ", text)
        text = _DEGREE.sub(r"°\1", text)
        text = self._spell_powers(self._spell_minus(text))
        text = _FRACTION.sub(self._fraction, text)
        text = self._insert(_TIMES, self._words["×"], text)
        text = self._insert(_RANGE, tables.RANGE[self._language], text)
        text = self._insert(_ABOUT, tables.ABOUT[self._language], text)
        text = self._before.sub(self._amount, text)
        text = self._behind.sub(self._amount, text)
        text = self._measured.sub(self._measure, text)
        return self._spell_rest(text)

    def _spell_minus(self, text: str) -> str:
        text = _MINUS.sub(MINUS, text)
        if MINUS not in text:
            return text
        return self._insert(_SUBTRACTION, tables.SUBTRACT[self._language], text)

    def _spell_powers(self, text: str) -> str:
        def superscript(match: re.Match[str]) -> str:
            digits = match[0]
            if digits in ("²", "³"):
                return self._spaced(match, (tables.SQUARED if digits == "²" else tables.CUBED)[self._language])
            if not _IS_A_POWER.search(match.string[: match.start()][-2:]):
                return digits  # a note's number behind a word
            return self._power(match, unicodedata.normalize("NFKC", digits))

        text = _SUPERSCRIPT.sub(superscript, text)
        return _POWER.sub(lambda match: self._power(match, match[1]), text)

    def _power(self, match: re.Match[str], number: str) -> str:
        number = number.replace(MINUS, tables.MINUS[self._language] + self._glue).replace("+", "")
        if self._language == "cmn":
            return self._spaced(match, f"的{number}次方" if number else "的幂")
        return self._spaced(match, f"{tables.POWER[self._language]} {number}".rstrip())

    def _fraction(self, match: re.Match[str]) -> str:
        numerator, denominator = (int(each) for each in unicodedata.normalize("NFKC", match[2]).split("\u2044"))
        words = tables.fraction(numerator, denominator, self._language)
        if match[1]:
            return self._spaced(match, match[1].rstrip() + tables.WITH_FRACTION[self._language] + words)
        return self._spaced(match, words)

    def _amount(self, match: re.Match[str]) -> str:
        number, scale = match["number"], (match["scale"] or "")
        scale = _LETTERS.get(scale.strip().lower(), scale)
        words = tables.form(
            self._money[match["sign"]], "2" if scale and self._language == "en" else number, self._language
        )
        if scale and self._language == "ru":
            words = self._money[match["sign"]][-1]
        return self._spaced(match, f"{match['minus']}{number}{scale}{self._glue}{words}")

    def _measure(self, match: re.Match[str]) -> str:
        number, forms = match[1], self._measures[match[2]]
        if "{}" in forms[0]:
            return forms[0].format(number)
        words = tables.form(forms, number, self._language)
        return self._spaced(match, f"{number}{self._glue}{words}")

    def _insert(self, pattern: re.Pattern[str], words: str, text: str) -> str:
        return pattern.sub(lambda match: self._spaced(match, words), text)

    def _spaced(self, match: re.Match[str], words: str) -> str:
        """Return words apart from the letters and digits beside them."""
        text, start, end = match.string, match.start(), match.end()
        before = self._glue if start and _ends_word(text[start - 1]) else ""
        after = self._glue if _STARTS_WORD.match(text, end) else ""
        return f"{before}{words}{after}"

    def _spell_rest(self, text: str) -> str:
        kept = (
            {match.start() for match in self._own_money.finditer(text)} if self._own_money is not None else frozenset()
        )

        def word(match: re.Match[str]) -> str:
            sign = match[0]
            if match.start() in kept:
                return sign
            words = tables.MINUS[self._language] if sign == MINUS else self._words.get(sign) or self._alone.get(sign)
            if words is not None:
                return self._spaced(match, words)
            if not is_sign(sign) or sign in _PUNCTUATION or sign in "~～":
                return sign
            plain = unicodedata.normalize("NFKC", sign)
            if plain != sign and plain.strip("()").isalnum():
                return plain
            raise Unspeakable(sign)

        return _SIGN.sub(word, text)


def _ends_word(character: str) -> bool:
    return character.isalnum() or character in ")]}”’»%°"


def is_sign(character: str) -> bool:
    """Whether a character is a mathematical sign, a currency or another symbol, and so may mean something."""
    return unicodedata.category(character) in ("Sm", "Sc", "So") or character in _SPOKEN_TOO


def signs_of(text: str) -> list[int]:
    """Return where a text has signs that an engine may pass over: those, and hyphens that are a minus."""
    found = [match.start() for match in _SIGN.finditer(text) if is_sign(match[0]) and match[0] not in _PUNCTUATION]
    return sorted({*found, *(match.start() for match in _MINUS.finditer(text))})
