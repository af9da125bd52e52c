"""English numbers to the last digit, for an engine that reads values, and leaves out digits that a value does not need."""

from __future__ import annotations

import re
from typing import Final

from sayonce.text.sign_words import CURRENCIES, SCALES

_MOST_DIGITS: Final = 36
"""Decillions: the package has no word for more."""
_BREATH: Final = 12
"""So many digits are said in a row."""

_SPACE: Final = " \u00a0\u2007\u2009\u202f"
_GROUPED: Final = re.compile(
    rf"(?<![\w+.,:/'’])(?<!\w-)(?<!\d[{_SPACE}])([1-9]\d{{0,2}}([{_SPACE}'’])\d{{3}}(?:\2\d{{3}})*)(?:[.,](\d+))?"
    rf"(?![{_SPACE}]?\d|[.,:/'’-]\d)"
)
"""10 000 or 10'000, also with a decimal; not +48 555 123 456, nor 0800 123 456."""
_CONTINENTAL: Final = re.compile(r"(?<![\w.,])([1-9]\d{0,2}(?:\.\d{3})+),(\d+)(?![.,]?\d)")
_LAKHS: Final = re.compile(r"(?<=₹)\s?[1-9]\d?(?:,\d\d)+,\d{3}(?!,?\d)")
_COMMA: Final = re.compile(r"(?<![\d.,])(?![1-9]\d{0,2},\d{3}(?!\d))(\d+),(\d+)(?![.,]?\d)")
_MONEY: Final = re.escape("".join(CURRENCIES))
_AFTER_MONEY: Final = re.compile(rf"[{_MONEY}]\s?[-−]?$")
_BEFORE_MEASURE: Final = re.compile(rf"\s?[{_MONEY}%‰‱°％℃℉]")
_STAMP: Final = re.compile(r"(?<![\w-])(\d{4}-\d\d-\d\d)T(\d\d:\d\d(?::\d\d)?)(?=Z|[+−-]\d|[.,;:!?)]*(?!\S))")
_CENTS_ALONE: Final = re.compile(rf"(?<=[{_MONEY}])(\s?)\.(?=\d)")
_CODES: Final = re.compile(r"(?<!\w)(USD|EUR|GBP|Rs\.?)\s?(?=\d)")
_SIGNS: Final = {"USD": "$", "EUR": "€", "GBP": "£", "Rs": "₹", "Rs.": "₹"}

_WHOLE: Final = r"(?:0|[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d*)"
_PLAIN: Final = re.compile(rf"({_WHOLE})(?:\.(\d+))?")
_SMALL: Final = r"(?:0|[1-9]\d{0,3})"
_ENDS: Final = r"(?=[-—.,;:!?…)\]'’]*(?!\S))"
AMOUNT: Final = (
    rf"(?:0|[1-9]\d{{0,2}}(?:,\d{{3}}){{1,11}}|[1-9]\d{{0,35}})(?:\.\d\d)?(?!\s?(?:{SCALES['en']})(?!\w))"
    rf"(?:{_ENDS}|(?=[-–]{_SMALL}(?![\w%-]|\.[\w.-])))"
)
"""An amount of dollars, pounds or euros that the package reads right: not $1.5, which it takes for five cents."""

_DAY: Final = r"(?:0?[1-9]|[12]\d|3[01])"
_MONTH: Final = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)"
)
_RANGE: Final = rf"(?<![\w.-]){_SMALL}\s?[-–]\s?{_SMALL}(?![\w%-]|\.[\w.-])"
_FIGURE: Final = re.compile(
    rf"(?:(?P<alone>(?<![\w./])(?:(?<!(?<!\d)-)(?:\d{{3}}-)?\d{{3}}-\d{{4}}(?![\w-]|\.[\w.-])|(?:0|[1-9]\d?)/(?:0|[1-9]\d?)(?![\w/]|\.[\w.]))"
    rf"|[$£€]\s?{AMOUNT}[-–]{_SMALL}(?![\w%-]|\.[\w.-])|{_RANGE}(?!/))"
    r"|(?P<kept>(?<![\w:])(?:[01]?\d|2[0-4]):(?!00:)[0-5]\d(?::[0-5]\d)?(?![\d:]|\.\d)"
    r"|(?<![\w.-])[1-9]\d{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?![\w-])"
    rf"|(?<![\w./])(?!(?:1[3-9]|[23]\d)/(?:1[3-9]|[23]\d)){_DAY}/{_DAY}/(?:[1-9]\d{{3}}|\d\d)(?![\w/])"
    rf"|\b{_MONTH} 0[1-9](?![\d:%])|(?<![\w.,:/-])0[1-9](?= (?:of )?{_MONTH}\b)"
    rf"|[$£€]\s?{AMOUNT})"
    rf"|(?P<dialled>(?<![\w.,:/-])0\d{{2,}}(?:[{_SPACE}]\d{{2,}}){{1,5}}(?![{_SPACE}]?\d|[.,:/-]\d))"
    r"|(?P<fraction>(?<![\w.…])\.\d+(?![.,]?\d))"
    r"|(?P<numeral>\d+(?:[.,]\d+)*))"
    rf"(?P<joint>(?:[^\w\n{_MONEY}&@#%+=<>^°−]|_)+(?<![^.…]\.)(?=\.?\d))?"
)
"""A number, and the text between it and the next; ``alone`` and ``kept`` are forms that the package reads right: telephone
numbers, fractions, ranges; times, dates, prices. The first three it does not see before a full stop."""
_SLASH: Final = re.compile(r"(?<![\w:/])/(?=\d)")
"""It would be left out together with the number."""
_AT: Final = re.compile(r"(?<![^\s(])@(?=\d)")
"""A number is read with it, as a word, if at all."""
_PAUSE: Final = re.compile(r"[,.;:!?…](?=.*\s)|.*\s[-–—]+\s|.*[()—]")
"""The text between two numbers for which the package pauses; all else it passes over, as if they were one."""
_MARKERS: Final = re.compile("[_*~]+")
_OPENS: Final = frozenset(" \n\t(")
_ENDS_HERE: Final = re.compile(_ENDS)
_DIGIT_ALONE: Final = re.compile(r"\d(?!\d|[.,:/]\d)")
_PROPER_FRACTION: Final = re.compile(r"[1-9]/(?:[2-9]|10)(?![\d/])")
_DIGIT: Final = re.compile(r"\d")
_PART: Final = re.compile(r"[.,]|\d+")
_SEPARATORS: Final = {".": " point ", ",": " comma "}
_LONGEST_NUMBER: Final = 2


def write_groups(text: str) -> str:
    """Return a text with its groups of thousands by commas, and a decimal point for a comma that can be nothing else."""
    if not _DIGIT.search(text):
        return text
    text = _STAMP.sub(r"\1 T \2 ", text)
    text = _CENTS_ALONE.sub(r"\g<1>0.", text)
    text = _CODES.sub(lambda match: _SIGNS[match[1]], text)
    text = _GROUPED.sub(lambda match: match[1].replace(match[2], ",") + (f".{match[3]}" if match[3] else ""), text)
    text = _CONTINENTAL.sub(lambda match: f"{match[1].replace('.', ',')}.{match[2]}", text)
    text = _LAKHS.sub(lambda match: match[0].replace(",", ""), text)
    return _COMMA.sub(_decimal_comma, text)


def _decimal_comma(match: re.Match[str]) -> str:
    text, start, end = match.string, match.start(), match.end()
    known = _AFTER_MONEY.search(text, max(0, start - 3), start) or _BEFORE_MEASURE.match(text, end)
    return f"{match[1]}.{match[2]}" if known else match[0]


def write_figures(text: str) -> str:
    """Return a text in which numbers are read to the last digit, each by itself.

    Digits that the package would leave out are written one by one: leading zeros, a decimal's last zeros, digits behind a
    comma. Where nothing would be heard between two numbers, there is a comma and a space.
    """
    text = _AT.sub("@ ", _SLASH.sub("slash ", text))
    return _FIGURE.sub(lambda match: _said(match) + _joint(match), text)


def _said(match: re.Match[str]) -> str:
    if match["fraction"]:
        apart = " " if match.start() and match.string[match.start() - 1] in ")]" else ""
        return f"{apart}point {_digits(match['fraction'][1:])}"
    if match["numeral"]:
        return _numeral(match["numeral"], alone=_stands_alone(match))
    if match["dialled"]:
        return ", ".join(map(_digits, match["dialled"].split()))
    return match[0][: match.start("joint") - match.start()] if match["joint"] else match[0]


def _joint(match: re.Match[str]) -> str:
    joint, text, end = match["joint"], match.string, match.end()
    if joint is None:
        return " " if match["alone"] and text.startswith(".", end) else ""
    if "/" in joint:
        return " slash "
    if joint in (" ", "-") and match["numeral"] and _PROPER_FRACTION.match(text, end):
        return " and "
    if joint.isspace():
        alone = match["numeral"] and len(match["numeral"]) == 1 and _DIGIT_ALONE.match(text, end)
        return joint if alone else ", "
    if _PAUSE.match(joint) and (" " in joint or not joint.strip("—")):
        return joint
    markers = _MARKERS.search(joint)
    return f", {markers[0]} " if markers else ", "


def _stands_alone(match: re.Match[str]) -> bool:
    """Whether a numeral is a word of its own: within one, or in quotation marks, the package says no decimal point."""
    text, start = match.string, match.start()
    return (start == 0 or text[start - 1] in _OPENS) and _ENDS_HERE.match(text, match.end("numeral")) is not None


def _numeral(written: str, *, alone: bool) -> str:
    plain = _PLAIN.fullmatch(written)
    if plain is not None:
        whole, decimals = plain.groups()
        if decimals is None:
            return _number(whole)
        is_read = alone and decimals[-1] != "0" and len(decimals) <= _BREATH and _number(whole) == whole
        return written if is_read else f"{_number(whole)} point {_digits(decimals)}"
    if "." not in written and written.count(",") > 1:
        return ", ".join(map(_number, written.split(",")))
    whole, *others = re.split("[.,]", written)
    if len(others) == 1:
        return f"{_number(whole)}{_SEPARATORS[written[len(whole)]]}{_digits(others[0])}"
    return _PART.sub(lambda match: _SEPARATORS.get(match[0]) or _part(match[0]), written)


def _number(written: str) -> str:
    """Return a whole number as it is, but digit by digit if it has a zero in front or no name."""
    figures = written.replace(",", "")
    return _digits(figures) if len(figures) > _MOST_DIGITS or figures[0] == "0" != figures else written


def _part(written: str) -> str:
    """Return one part of several, as in 2.0.10 and 192.168.0.1."""
    return _number(written) if len(written) <= _LONGEST_NUMBER else _digits(written)


def _digits(figures: str) -> str:
    return ", ".join(" ".join(figures[start : start + _BREATH]) for start in range(0, len(figures), _BREATH))
