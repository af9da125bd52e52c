"""Spell the signs of a text: an engine gets the words of each sign in place of the sign."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final

from sayonce.text import sign_words
from sayonce.text.dashes import BETWEEN, MINUS, SUBTRACTION, is_one_of_many, write_minus
from sayonce.text.dashes import MONEY as _MONEY
from sayonce.text.dashes import NUMBER as _NUMBER
from sayonce.text.english_numbers import AMOUNT
from sayonce.text.numerals import digits, fraction_of, spaced
from sayonce.text.sign_words import CURRENCIES, LANGUAGES, MEASURES, Forms
from sayonce.text.signs import BAR, CYRILLIC, DOT, JOINT, PLAIN_SIGNS, SIGN, TIMES, is_sign, plain_form

_WRITTEN: Final = {"!=": "≠", "<=": "≤", ">=": "≥", "+/-": "±", "+-": "±", "==": "=", "℃": "°C"}
_IN_ASCII: Final = re.compile(r"!=|(?<![<=])<=(?![=>])|(?<![=>])>=(?![=>])|\+/-|(?<!\+)\+-(?=\d)|(?<![<>=!])==(?!=)")

_SUPERSCRIPT: Final = re.compile(r"(?<=[\w)\]])(?<![⁰¹²³⁴⁵⁶⁷⁸⁹])[⁺⁻]?(?:[⁰¹²³⁴⁵⁶⁷⁸⁹]+|[ⁿⁱ])")
_IS_A_POWER: Final = re.compile(r"(?:\d|\b[A-Za-z]|[)\]])$")
_FRACTION: Final = re.compile(r"((?<=\d)\s?)?([½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞⅐⅑⅒])")
_PER: Final = re.compile(rf"(?:(?<=[{_MONEY}])|(?P<price>[{_MONEY}]\s?{_NUMBER}))\s?/\s?(?=[^\W\d])")
_SPEED: Final = re.compile(r"(?<=[A-Za-z])(?<![A-Za-z]{4})/(?=(?:h|s|min|m|l|kg|d|j)\b)")
_FRACTION_BAR: Final = re.compile(r"(?<=\d)(?<!/\d)(?<!/\d\d)/(?=\d+(?![/\d]))")
_LENGTH: Final = re.compile(
    rf"""(?P<feet>{_NUMBER})(?:[′'])\s?(?P<inches>{_NUMBER})(?:″|"|′′|'')|(?P<alone>{_NUMBER})(?:″|′′|''|"(?!\w))"""
)
_ANGLE: Final = re.compile(rf"""(?<=°)\s?(?P<minutes>{_NUMBER})\s?[′'](?:\s?(?P<seconds>{_NUMBER})\s?(?:″|"|′′|''))?""")
_POWER: Final = re.compile(r"(?<=[\w)\]])\s?\^\s?(?=[\w−({])(−?\d+|)")
_RANGE: Final = re.compile(r"(?<=[\d%°])\s?[~～]\s?(?=[−]?\d)")
_ABOUT: Final = re.compile(rf"(?<![\w~～])[~～](?=[{_MONEY}]?{MINUS}?\d)|(?<=[\u4e00-\u9fff])[~～](?=\d)")
_DEGREE: Final = re.compile(r"(?:°|º)\s?([CF])(?![A-Za-z])")
_FRENCH_NUMBER: Final = re.compile(r"(?:\b[nN]°|#(?=\d))\s?")
_STARTS_WORD: Final = re.compile(r"[^\s.,;:!?)\]}”’»…。，！？；：、）》」』-]|\.\d")
_DRESSED: Final = re.compile(
    "[\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2128-\u2139\u213c-\u213f\u2145-\u2149\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff]"
)
"""Letters as mathematicians set them, and wide ones."""
_FRENCH_HASH: Final = re.compile(r"#\s?")
_CHINESE_DOT: Final = re.compile(r"(?<=\b[A-Za-z])\s?·\s?(?=[A-Za-z]\b)|(?<=\d)\s?·\s?(?=\d+(?![\d\u4e00-\u9fff]))")
"""Not in 3·15晚会, a date."""
_LETTERS: Final = {"k": " thousand", "m": " million", "b": " billion"}

_ASCII_SIGNS: Final = re.compile(r"[-+*=<>~%$^|_\\#/]|\d['\"]")


class Unspeakable(Exception):
    """A sign for which there are no words in the language; the argument is the sign."""


def spell(text: str, language: str, *, own_money: str = "") -> str:
    """Return a text with its signs as words.

    ``own_money`` are the currencies that the engine reads by itself where they stand before an amount.

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
        self._words = {sign: row[self._column] for sign, row in sign_words.WORDS.items()}
        self._measures = self._of(MEASURES)
        self._money = self._of(CURRENCIES)
        self._alone = {
            sign: forms[-1] if "{}" in forms[0] else forms[0] for sign, forms in (self._measures | self._money).items()
        }
        self._before, self._behind, self._own_money = self._amounts(own_money)
        self._measured = re.compile(rf"({_NUMBER})\s?(°[CF]|[{''.join(set(''.join(self._measures)) - set('CF'))}])")
        self._own_letters = "〇" if language == "cmn" else ""
        self._per = sign_words.PER[language]
        self._inserted = (
            (TIMES, self._words["×"]),
            (_CHINESE_DOT if language == "cmn" else DOT, self._words["⋅"]),
            (_RANGE, sign_words.RANGE[language]),
            (_ABOUT, sign_words.ABOUT[language]),
            (JOINT, self._words["_"]),
            (BAR, self._words["|"]),
        )

    def _amounts(self, own_money: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str] | None]:
        """Return patterns for an amount behind its currency, for one before it, and for those that the engine reads."""
        scale = (
            rf"(?P<scale>\s?(?:{sign_words.SCALES[self._language]})(?!\w))?"
            if self._language != "cmn"
            else r"(?P<scale>[十百千万亿]+)?"
        )
        to = self._glue + sign_words.RANGE[self._language] + self._glue
        kept = rf"(?<![A-Za-z/-])[{re.escape(own_money)}]\s?{AMOUNT}" if own_money else ""
        own = rf"(?!{kept})[{re.escape(own_money)}]|" if own_money else ""
        foreign = "".join(set(self._money) - set(own_money))
        money, foreign = f"[{re.escape(_MONEY)}]", f"{own}[{re.escape(foreign)}]"
        before = re.compile(
            rf"(?P<sign>{foreign})\s?(?P<minus>{MINUS}?)(?P<number>{_NUMBER}(?:(?:[-–]|{to}){_NUMBER})?){scale}"
        )
        behind = re.compile(rf"{kept and kept + '|'}(?P<minus>)(?P<number>{_NUMBER}){scale}\s?(?P<sign>{money})")
        return before, behind, re.compile(kept) if own_money else None

    def _of(self, table: Mapping[str, tuple[Forms, ...]]) -> dict[str, Forms]:
        return {sign: row[self._column] for sign, row in table.items()}

    def spell(self, text: str) -> str:
        text = _DRESSED.sub(_undressed, text)
        text = _IN_ASCII.sub(lambda match: _WRITTEN[match[0]], text.translate(PLAIN_SIGNS))
        if self._language == "fr":
            text = _FRENCH_HASH.sub("dièse ", _FRENCH_NUMBER.sub("numéro ", text))
        text = _DEGREE.sub(r"°\1", text)
        text = self._spell_powers(self._spell_minus(text))
        text = _FRACTION.sub(self._fraction, text)
        text = _LENGTH.sub(self._length, _ANGLE.sub(self._angle, text))
        for pattern, words in self._inserted:
            text = self._insert(pattern, words, text)
        if self._language in sign_words.SLASH:
            text = _SPEED.sub(f" {self._per} ", text)
            text = _FRACTION_BAR.sub(f" {sign_words.SLASH[self._language]} ", text)
        text = _PER.sub(lambda match: f"{match['price'] or ''}{self._glue}{self._per}{self._glue}", text)
        text = self._before.sub(self._amount, text)
        text = self._behind.sub(self._amount, text)
        text = self._measured.sub(self._measure, text)
        if self._language == "ru" and (letter := CYRILLIC.search(text)):
            raise Unspeakable(letter[0])
        return self._spell_rest(text)

    def _spell_minus(self, text: str) -> str:
        text = BETWEEN.sub(self._range, write_minus(text))
        if MINUS not in text:
            return text
        return self._insert(SUBTRACTION, sign_words.SUBTRACT[self._language], text)

    def _range(self, match: re.Match[str]) -> str:
        """Say a dash between numbers, but not one of several, as in a date, nor a telephone number's."""
        if match[0] == "—" and self._language != "cmn":
            return match[0]
        return "-" if is_one_of_many(match) else self._spaced(match, sign_words.RANGE[self._language])

    def _length(self, match: re.Match[str]) -> str:
        if not match["alone"]:
            return self._counted(match, [("feet", match["feet"]), ("inches", match["inches"])])
        if match[0].endswith('"') and match.string.count('"', 0, match.end() - 1) % 2:
            return match[0]  # the end of a quotation
        return self._counted(match, [("inches", match["alone"])])

    def _angle(self, match: re.Match[str]) -> str:
        return self._counted(match, [("minutes", match["minutes"]), ("seconds", match["seconds"])])

    def _counted(self, match: re.Match[str], parts: Iterable[tuple[str, str | None]]) -> str:
        words = (
            f"{number}{self._glue}{sign_words.form(sign_words.PRIMES[unit][self._column], number, self._language)}"
            for unit, number in parts
            if number is not None
        )
        return self._spaced(match, self._glue.join(words))

    def _spell_powers(self, text: str) -> str:
        def superscript(match: re.Match[str]) -> str:
            digits = match[0]
            if digits in ("²", "³"):
                return self._spaced(match, (sign_words.SQUARED if digits == "²" else sign_words.CUBED)[self._language])
            if not _IS_A_POWER.search(match.string[: match.start()][-2:]):
                return digits  # a note's number behind a word
            return self._power(match, unicodedata.normalize("NFKC", digits))

        text = _SUPERSCRIPT.sub(superscript, text)
        return _POWER.sub(lambda match: self._power(match, match[1]), text)

    def _power(self, match: re.Match[str], number: str) -> str:
        number = number.replace(MINUS, sign_words.MINUS[self._language] + self._glue).replace("+", "")
        if self._language == "cmn":
            return self._spaced(match, f"的{number}次方" if number else "的幂")
        return self._spaced(match, f"{sign_words.POWER[self._language]} {number}".rstrip())

    def _fraction(self, match: re.Match[str]) -> str:
        numerator, denominator = (int(each) for each in unicodedata.normalize("NFKC", match[2]).split("\u2044"))
        words = sign_words.fraction(numerator, denominator, self._language)
        if match[1] is not None:
            return sign_words.WITH_FRACTION[self._language] + self._spaced(match, words).lstrip()
        return self._spaced(match, words)

    def _amount(self, match: re.Match[str]) -> str:
        if match["sign"] is None:
            return match[0]  # the engine's own
        number, scale = match["number"], (match["scale"] or "")
        scale = _LETTERS.get(scale.strip().lower(), scale)
        words = sign_words.form(
            self._money[match["sign"]], "2" if scale and self._language == "en" else number, self._language
        )
        if scale and self._language == "ru":
            words = self._money[match["sign"]][-1]
        return self._spaced(match, f"{match['minus']}{number}{scale}{self._glue}{words}")

    def _measure(self, match: re.Match[str]) -> str:
        number, forms = match[1], self._measures[match[2]]
        if "{}" in forms[0]:
            return forms[0].format(number)
        words = sign_words.form(forms, number, self._language)
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
            if sign == MINUS:
                return self._spaced(match, sign_words.MINUS[self._language])
            if not is_sign(sign) or sign in self._own_letters:
                return sign
            words = self._words.get(sign) or self._alone.get(sign)
            return self._spaced(match, words) if words is not None else self._other(match)

        return SIGN.sub(word, text)

    def _other(self, match: re.Match[str]) -> str:
        """Return the words of a numeral, or the plain form of a letter.

        Raises:
            Unspeakable: it is neither.

        """
        sign = match[0]
        number = digits(sign)
        if number is not None:
            return spaced(match, number)
        fraction = fraction_of(sign)
        if fraction is not None:
            over = self._words["⁄"]
            return spaced(match, f"{fraction.numerator}{self._glue}{over}{self._glue}{fraction.denominator}")
        plain = plain_form(sign)
        if plain is None:
            raise Unspeakable(sign)
        return plain


def _undressed(match: re.Match[str]) -> str:
    return plain_form(match[0]) or match[0]


def _ends_word(character: str) -> bool:
    return character.isalnum() or character in ")]}”’»%°"
