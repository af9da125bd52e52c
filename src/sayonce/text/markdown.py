"""Read Markdown as a person would read it aloud: in sentences, without its marks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from sayonce.text.ornaments import leave_out_ornaments
from sayonce.text.reading import Reading

_DEEPEST: Final = 100
"""Levels of lists and quotations; the parser drops deeper ones, so such a text is taken for plain."""


@cache
def _parser(*without: str) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"maxNesting": _DEEPEST, "html": False})
    # Without a paragraph that is indented, and "[Note]: …": these are texts, more often than not.
    return parser.enable(["table", "strikethrough"]).disable(["code", "reference", *without])


_MOST_STEPS: Final = 1_000_000
"""The parser looks from each opening bracket to the end: with more steps than these, brackets are taken for text."""
_MOST_CELLS: Final = 4000
"""The parser fills each short row up to as many cells as its table has columns; a table of more, and of more cells than
the text has characters, is taken for text."""
_CODE: Final = "code"
"""The name of a block of code in the list of what was left out."""
_REMEMBERED: Final = 64

_TIMES: Final = re.compile(r"(?<=[\d)])\*(?=[\d(])")
"""A product, which Markdown takes for emphasis: 2*3*4."""
_POWER: Final = re.compile(r"<sup>\s*([-−]?\d{1,9})\s*</sup>", re.IGNORECASE)
_EMPHASIS: Final = re.compile(r"(\*{1,3})(?=[^\s*])([^*\n]{1,500})(?<=[^\s*])\1")
"""Emphasis that CommonMark does not see, as its last character is a full-width mark: **注意：**不要."""
_NOTE: Final = re.compile(r"\[\^\d{1,3}\]:?")
_ATTRIBUTE: Final = r"(?:open|[A-Za-z:][\w:.-]{0,60}\s*=\s*(?:\"[^\"]{0,2000}\"|'[^']{0,2000}'|[^\s\"'=<>`]{1,2000}))"
"""With a value, else it is a word of a text: if a<b and c>d."""
_TAG: Final = re.compile(
    rf"<!--.{{0,2000}}?-->|</?([A-Za-z][A-Za-z0-9]{{0,9}})(?:\s+{_ATTRIBUTE}){{0,50}}\s*/?>", re.DOTALL
)
_TAGS: Final = re.compile(
    "a|abbr|b|big|center|cite|code|del|em|font|i|img|ins|kbd|mark|q|s|samp|small|span|strike|strong|sub|sup|tt|u|var"
)
_BREAKING_TAGS: Final = re.compile(
    "blockquote|br|dd|details|div|dl|dt|figcaption|figure|h[1-6]|hr|li|ol|p|pre|summary|table|tbody|td|th|thead|tr|ul"
)
_ADDRESS: Final = re.compile(
    r"(?:https?://|mailto:)[^\s<>\"'()\[\]{}\u3000-\u303f\uff00-\uff0f\uff1a-\uff1f]+", re.IGNORECASE
)
_ENDS: Final = ".!?:;,…。！？：；，、．｡"
"""The characters that end a sentence, or a part of one."""
_CLOSING: Final = "\"')]}»”’）】》」』"
_WIDE: Final = ("CJK", "HIRAGANA", "KATAKANA", "FULLWIDTH", "IDEOGRAPHIC")


def read_markdown(text: str, longest: int) -> Reading:
    """Return the text that a person reads aloud of Markdown, and what is left out.

    Headings, paragraphs, items of lists and rows of tables end as sentences do; a cell is read with the name of its
    column. Of an address, its host is read. Code within a sentence is read as it is; blocks of code are left out, as
    emoji are. What would be longer than ``longest`` characters is not made to its end.
    """
    return _remembered(text, longest)


@lru_cache(_REMEMBERED)
def _remembered(text: str, longest: int) -> Reading:
    marked = _NOTE.sub("", _TIMES.sub("×", _POWER.sub(r"^\1", text)))
    tokens = _parser(*_too_slow(marked)).parse(marked)
    if any(token.level >= _DEEPEST - 1 for token in tokens):
        return Reading(text)
    lines: list[str] = []
    characters = 0
    left_out = dict.fromkeys(_CODE for token in tokens if token.type == "fence")
    for block in _blocks(tokens):
        line, ornaments = leave_out_ornaments(block)
        left_out |= dict.fromkeys(ornaments)
        if line := line.strip():
            lines.append(line)
        characters += len(line)
        if characters > longest:
            break
    return Reading("\n".join([*map(_ended, lines[:-1]), *lines[-1:]]), tuple(left_out))


def _too_slow(text: str) -> tuple[str, ...]:
    """Return the rules of the parser that would take long over a text."""
    lines = text.splitlines()
    cells = len(lines) * max((line.count("|") for line in lines), default=0)
    links = ("link", "image") if text.count("[") * len(text) > _MOST_STEPS else ()
    return (*links, "table") if cells > max(_MOST_CELLS, len(text)) else links


def _blocks(tokens: Sequence[Token]) -> Iterator[str]:
    """Yield the text of each block: a heading, a paragraph, an item of a list, a row of a table."""
    numbers: list[int | None] = []
    item: int | None = None
    rows: list[list[str]] = []
    for token in tokens:
        match token.type:
            case "list_item_open" | "list_item_close" | "table_open" if item is not None:
                yield f"{item}."  # it has no text of its own: 42. as an answer
                item = None
        match token.type:
            case "list_item_open":
                item = numbers[-1]
                numbers[-1] = None if item is None else item + 1
            case "tr_open":
                rows.append([])
            case "table_close":
                yield from _table(*rows)
                rows = []
            case "inline":
                says = _inline(token.children or ()).strip()
                if rows:
                    rows[-1].append(" ".join(says.split()))
                elif says:
                    yield says if item is None else _numbered(item, says)
                    item = None
            case _:
                _enter_or_leave_list(token, numbers)


def _enter_or_leave_list(token: Token, numbers: list[int | None]) -> None:
    """Keep the number of the next item of each list that is open; None where it has bullets."""
    if token.type == "ordered_list_open":
        numbers.append(int(token.attrs.get("start", 1)))
    elif token.type == "bullet_list_open":
        numbers.append(None)
    elif token.type in ("ordered_list_close", "bullet_list_close"):
        numbers.pop()


def _table(names: list[str], *rows: list[str]) -> Iterator[str]:
    """Yield each row with the names of its columns; a table without rows says these alone."""
    for cells in rows or [names]:
        said = [
            _joined(name.rstrip(_ENDS), ": ", "：", cell) if name and rows else cell
            for name, cell in zip(names, cells, strict=False)
            if cell
        ]
        yield (", " if not any(map(_ends_wide, said)) else "，").join(said)


def _numbered(number: int, says: str) -> str:
    return f"{number}、{says}" if _is_wide(says[0]) else f"{number}. {says}"


def _joined(before: str, narrow: str, wide: str, after: str) -> str:
    return before + (wide if _ends_wide(before) else narrow) + after


def _ended(line: str) -> str:
    """Return the text of a block with an end, so that the next one is not read in the same breath."""
    said = line.rstrip(_CLOSING) or line
    return line if said[-1] in _ENDS else line + ("。" if _ends_wide(said) else ".")


def _inline(tokens: Sequence[Token]) -> str:
    """Return the text of inline tokens."""
    said: list[str] = []
    for token in tokens:
        match token.type:
            case "text":
                said.append(_ADDRESS.sub(_host, _TAG.sub(_without_tag, _EMPHASIS.sub(r"\2", token.content))))
            case "code_inline":
                said.append(token.content)
            case "softbreak" | "hardbreak":
                said.append("\n")
            case "image":
                said.append(_inline(token.children or ()))
    return "".join(said)


def _without_tag(match: re.Match[str]) -> str:
    name = (match[1] or "").lower()
    if _BREAKING_TAGS.fullmatch(name):
        return "\n"
    return "" if _TAGS.fullmatch(name) or not name else match[0]


def _host(match: re.Match[str]) -> str:
    """Return the part of an address that is read: its host, or the address of a mail."""
    address = match[0].rstrip(_ENDS)
    kind, _, rest = address.partition(":")
    if kind.lower() == "mailto":
        said = rest.partition("?")[0]
    else:
        host = re.split(r"[/?#\\]", rest[2:], maxsplit=1)[0].rpartition("@")[2]
        said = host.removeprefix("www.")
    return (said or rest) + match[0][len(address) :]


def _ends_wide(text: str) -> bool:
    return bool(text) and _is_wide(text[-1])


def _is_wide(character: str) -> bool:
    return not character.isascii() and unicodedata.name(character, "").startswith(_WIDE)
