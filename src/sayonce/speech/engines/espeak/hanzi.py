"""Characters of East Asia that espeak-ng's voices have a reading for, taken from the compiled dictionary that they read.

Of a character that its dictionary lacks a voice says the code point ("2 0 b b 7"), one vowel, or "letter". And the Chinese
dictionary has syllables that its own rules do not know, which are then read as English: ``xiong2`` and ``r5``.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from sayonce.errors import EngineError

_DICTIONARIES: Final = {"cmn": "cmn_dict", "yue": "yue_dict"}
_HEADER: Final = struct.Struct("<ii")
"""How many lists of words follow, and where these end."""
_WORD_LENGTH, _LARGEST_FLAG = 0x3F, 80
"""In the byte before a word; and a larger byte behind the reading says that more words belong to this one."""
_LEADS: Final = {3: 0xE2, 4: 0xF0}
"""The least first byte of a character of so many bytes in UTF-8."""
_NEVER: Final = 0x100

_IDEOGRAPHIC: Final = re.compile(
    "[\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3100-\u312f\u31a0-\u31ef\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00016fe0-\U00018d7f\U00020000-\U0003ffff]"
)
"""Ideographs, radicals, strokes, Bopomofo, Hangzhou numerals, Tangut, Khitan, Nüshu's and Yi's marks."""
_NO_VOICE: Final = re.compile(
    "[\u1100-\u11ff\u3164-\u318e\ua960-\ua97f\ud7a4-\ud7ff\uffa0-\uffdf"  # Hangul of the past, in parts, or half as wide
    "\u3037\u3200-\u321e\u322a-\u3247\u3250\u3260-\u327f\u328a-\u32b0\u32c0-\u33ff"  # syllables and words in brackets, circles and squares
    "\u3099-\u309e\u30fd\u30fe\u308e\u3095\u3096\u30ee\u30f5-\u30f7\u31f0-\u31ff\U0001aff0-\U0001b16f]"  # kana
)
"""Characters that every voice passes over, names or spells."""
_HALF_WIDTH: Final = re.compile("[\uff66-\uff9f]+")
_DOT: Final = re.compile("[・･\u30a0]+")
"""Between words: espeak-ng says "Japanese symbol"."""
_WAVE: Final = re.compile("(?<![\u3041-\u30ff])\u301c")
"""The wave dash is said to be a Japanese letter where it does not draw out a vowel."""
_FROM_TO: Final = re.compile(r"(?<=\d)[\u301c\uff5e~](?=\d)")
_AFTER: Final = {
    "ぁァ": "ぁあかがくぐさざただっつなはばぱふまゃやらわゔ",
    "ぃィ": "ぃいうきぎくぐしじちぢっつてでにひびぴふみりゐゔ",
    "ぅゥ": "ぅうくぐすずっつづとどぬふぶぷむゅゆるゔ",
    "ぇェ": "ぇいうえくぐけげしじせぜちっつてでねふへべぺめれゑゔ",
    "ぉォ": "ぉうおくぐこごそぞっつとどのふほぼぽもょよろをゔ",
    "ー": "".join(map(chr, range(0x3041, 0x3097))),
}
"""Characters that each small vowel, and the sign of length, may follow; elsewhere it is passed over, or named."""


def _with_katakana(hiragana: str) -> str:
    return hiragana + "".join(chr(ord(each) + 0x60) for each in hiragana)


_SMALL_KANA: Final = re.compile(
    "|".join(
        f"(?<![{_with_katakana(before)}{'ーヷヸヹヺ' if small == 'ー' else ''}])[{small}]"
        for small, before in _AFTER.items()
    )
)
_HANGUL: Final = "\u3131-\u3163\uac00-\ud7a3"
_BESIDE_HANGUL: Final = re.compile(
    rf"(?<=[{_HANGUL}])(?=[^\W_])(?![{_HANGUL}])|(?<=[^\W_])(?<![{_HANGUL}])(?=[{_HANGUL}])"
)
"""Where Korean meets other letters or digits: in one word with them it is spelled."""
_ALONE_IN_KOREAN: Final = re.compile(
    "(?<![\u3131-\u3163\uac00-\ud7a3])[\u3131-\u3163아애야얘어에여예오와왜외요우워웨위유으의이](?![\u3131-\u3163\uac00-\ud7a3])"
)
"""Korean letters and vowels by themselves, of which other voices say that they are Hangul."""

_UNKNOWN_SYLLABLE: Final = re.compile(rb"([jqx])iong([1-5])")
_SUFFIX: Final = b"r5"
_LONGEST_WORD: Final = 8
_ER, _OLD_ER = "儿", "兒"


class _Dictionary(msgspec.Struct, frozen=True):
    """The characters that a voice has a reading for, the syllables to write for some, words with 儿 as a suffix, what is before it."""

    characters: frozenset[str]
    syllables: dict[str, str]
    suffixed: frozenset[str]
    before_suffix: frozenset[str]


def read_by_none(text: str) -> str | None:
    """Return the first character of a text that every voice passes over, names or spells."""
    found = _NO_VOICE.search(text)
    return found[0] if found else None


def unread_character(text: str, voice: str, data: Path) -> str | None:
    """Return a character of a text of which the voice would say something else than what is written."""
    language = _language(voice)
    lone = (
        _NO_VOICE.search(text)
        or _SMALL_KANA.search(text)
        or (_ALONE_IN_KOREAN.search(text) if language != "ko" else None)
    )
    if lone:
        return lone[0]
    asked = dict.fromkeys(_IDEOGRAPHIC.findall(text))
    if not asked:
        return None
    known = _dictionary(data / _DICTIONARIES[language]).characters if language in _DICTIONARIES else frozenset()
    return next((each for each in asked if each not in known), None)


def write_apart(text: str, voice: str) -> str:
    """Return a text with kana of full width, and with spaces where words end that the voice would spell or name."""
    text = _HALF_WIDTH.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    if _language(voice) == "ja":
        text = _WAVE.sub(" ", _FROM_TO.sub("から", text))
    text = _DOT.sub(" ", text).strip()
    return text if _language(voice) == "ko" else _BESIDE_HANGUL.sub(" ", text)


def write_syllables(text: str, voice: str, data: Path) -> str:
    """Return a Chinese text in which syllables that the voice would read as English are written as it knows them."""
    if _language(voice) != "cmn" or not _IDEOGRAPHIC.search(text):
        return text
    known = _dictionary(data / _DICTIONARIES["cmn"])
    text = _mark_suffixes(text.replace(_OLD_ER, _ER), known)

    def written(character: str, before: str, after: str) -> str:
        syllable = known.syllables[character]
        before = " " if _is_latin(before) or before in known.syllables else ""
        return f"{before}{syllable}{' ' if _is_latin(after) else ''}"

    return "".join(
        written(each, text[at - 1 : at] if at else "", text[at + 1 : at + 2]) if each in known.syllables else each
        for at, each in enumerate(text)
    )


def _mark_suffixes(text: str, known: _Dictionary) -> str:
    """Return a text with the other form of 儿 where the dictionary has it as the suffix of a word."""
    marked = list(text)
    for at in (match.start() for match in re.finditer(f"(?<=.){_ER}", text)):
        if text[at - 1] not in known.before_suffix:
            continue
        starts = range(max(0, at - _LONGEST_WORD + 1), at)
        if any(
            text[start:end] in known.suffixed for start in starts for end in range(at + 1, start + _LONGEST_WORD + 1)
        ):
            marked[at] = _OLD_ER
    return "".join(marked)


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _language(voice: str) -> str:
    return voice.partition("+")[0].partition("-")[0]


def prepare(data: Path) -> None:
    """Read the dictionaries, so that the first text does not wait for it."""
    for name in _DICTIONARIES.values():
        _dictionary(data / name)


@lru_cache(maxsize=8)
def _dictionary(file: Path) -> _Dictionary:
    """Read a compiled dictionary: lists of entries, each its length, its word's, the word, the reading, and flags."""
    data = file.read_bytes()
    lists, end = _HEADER.unpack_from(data.ljust(_HEADER.size, b"\0"))
    readings: dict[str, bytes] = {}
    suffixed: set[str] = set()
    at = _HEADER.size
    try:
        for _ in range(lists):
            while size := data[at]:
                behind = at + 2 + (data[at + 1] & _WORD_LENGTH)
                if data[at + 2] >= _LEADS.get(behind - at - 2, _NEVER):
                    word = data[at + 2 : behind].decode()
                    reading, _, flags = data[behind : at + size].partition(b"\0")
                    rest = next((place for place, flag in enumerate(flags) if flag > _LARGEST_FLAG), None)
                    if rest is None:
                        readings[word] = reading
                    elif _SUFFIX in reading:
                        suffixed.add((word + flags[rest + 1 :].decode().replace(" ", "")).replace(_OLD_ER, _ER))
                at += size
            at += 1
    except (IndexError, UnicodeDecodeError):
        at = -1
    if at != end:
        raise EngineError(f"{file.name} is not in the format of espeak-ng's dictionaries that is known")
    syllables = {
        word: match.expand(rb"\1ong\2").decode()
        for word, reading in readings.items()
        if (match := _UNKNOWN_SYLLABLE.fullmatch(reading))
    }
    words = frozenset(word for word in suffixed if word.find(_ER) > 0)
    before = frozenset(word[at - 1] for word in words for at, each in enumerate(word) if at and each == _ER)
    return _Dictionary(frozenset(readings), syllables | {_OLD_ER: "er5"}, words, before)
