"""Read rows to warm: texts and requests from txt, csv and jsonl files, each with its file and line."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

import msgspec

from sayonce.errors import ConfigError, InvalidRequest
from sayonce.speech.engines.fields import REFERENCE_FIELDS, TOLERATED
from sayonce.speech.request import parse_json
from sayonce.warm.text_files import decode

Kind = Literal["txt", "csv", "jsonl"]

_STRINGS: Final = frozenset(
    ("model", "input", "voice", "speaker", "response_format", "ref_audio", "ref_text", *TOLERATED)
)
"""Fields that are strings for every engine; the other cells of a csv file are read as their parameters declare."""
_VOICES: Final = REFERENCE_FIELDS | {"voice", "speaker"}
"""Fields that name the voice of a row."""
_NAMES: Final = {
    "text": "input", "input": "input", "voice": "voice", "model": "model", "speed": "speed", "format": "response_format",
    "文本": "input", "文字": "input", "内容": "input", "台词": "input", "话术": "input", "句子": "input",
    "內容": "input", "台詞": "input", "話術": "input",
    "音色": "voice", "声音": "voice", "聲音": "voice", "发音人": "voice", "發音人": "voice", "说话人": "voice",
    "模型": "model", "引擎": "model", "格式": "response_format", "语速": "speed", "語速": "speed",
}  # fmt: skip
"""Names of columns in small letters, in English and Chinese, by the field that they mean."""
_DELIMITERS: Final = ",;\t"
_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode


class Row(msgspec.Struct, frozen=True):
    """One text to say: a request's fields, and the file and line that they come from.

    ``cells`` are parameters of types that are not known yet, as text. ``error`` says why the row is none.
    """

    place: str
    fields: dict[str, Any] = {}
    cells: dict[str, str] = {}
    error: str | None = None

    @property
    def text(self) -> str:
        return str(self.fields.get("input", ""))


KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


def kind_of(name: str) -> Kind | None:
    """Return the kind that a file's name ends in."""
    return next((kind for kind in KINDS if Path(name).suffix.lower() == f".{kind}"), None)


def read_rows(content: bytes, name: str, kind: Kind, tell: Callable[[str], None] = lambda _: None) -> Iterator[Row]:
    """Yield the rows of a file; a wrong row comes with its error, and the others are read all the same.

    txt has one text a line, and every line that is not empty is one: there are no comments. csv has a header with a
    column ``text``, ``input`` or ``文本``; empty cells are not given, but for that of the text, which is refused.
    jsonl has one request in OpenAI's form a line. ``tell`` is given the encoding where it is not UTF-8.

    Raises:
        ConfigError: the file as a whole is wrong.

    """
    text, encoding = decode(content, name)
    if encoding is not None:
        tell(encoding)
    for row in _READERS[kind](text, name):
        yield row if _is_utf8(row) else Row(row.place, error="is not UTF-8")


def expand(
    rows: Sequence[Row], voices: Sequence[str], fields: Mapping[str, Any], cells: Mapping[str, str]
) -> Iterator[Row]:
    """Yield every row in each of the voices, with the fields that it lacks; its own fields stay."""
    for row in rows:
        own_voice = row.error is not None or not _VOICES.isdisjoint(row.fields)
        others = {name: value for name, value in cells.items() if name not in row.fields}
        for voice in [None] if own_voice or not voices else voices:
            chosen = {} if voice is None else {"voice": voice}
            yield Row(row.place, {**fields, **chosen, **row.fields}, {**others, **row.cells}, row.error)


def most_common(rows: Sequence[Row], count: int) -> list[Row]:
    """Return the rows that come most often in a log of requests, each once, and those in error."""
    first: dict[bytes, Row] = {}
    times: Counter[bytes] = Counter()
    for row in rows:
        if row.error is None:
            said = _encode((row.fields, row.cells))
            first.setdefault(said, row)
            times[said] += 1
    return [*(first[said] for said, _ in times.most_common(count)), *(row for row in rows if row.error is not None)]


def _read_txt(text: str, name: str) -> Iterator[Row]:
    for place, line in _lines(text, name):
        yield Row(place, {"input": line})


def _read_jsonl(text: str, name: str) -> Iterator[Row]:
    for place, line in _lines(text, name):
        try:
            yield Row(place, parse_json(line.encode(errors="surrogateescape")))
        except InvalidRequest as error:
            yield Row(place, error=error.message.replace("the body", "the line", 1))


def _lines(text: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield the lines that are not empty; a line ends at a line feed alone, as texts may hold other separators."""
    for number, line in enumerate(text.split("\n"), 1):
        if stripped := line.strip():
            yield f"{name}:{number}", stripped


def _read_csv(text: str, name: str) -> Iterator[Row]:
    header, delimiter = _header(text, name)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    next(reader)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(f"{name}:{reader.line_num}", error=f"cannot be read: {error}")
            continue
        if any(cells):
            yield _record(f"{name}:{reader.line_num}", header, cells)


def _record(place: str, header: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) > len(header):
        return Row(place, error=f"has {len(cells)} cells, and the header {len(header)}: is a quote missing?")
    given = {column: cell for column, cell in zip(header, cells, strict=False) if cell or column == "input"}
    fields = {column: cell for column, cell in given.items() if column in _STRINGS}
    return Row(place, fields, {column: cell for column, cell in given.items() if column not in _STRINGS})


def _header(text: str, name: str) -> tuple[list[str], str]:
    first = text.partition("\n")[0].rstrip("\r")
    for delimiter in _DELIMITERS:
        columns = [column.strip() for column in next(csv.reader([first], delimiter=delimiter), [])]
        header = [_NAMES.get(column.lower(), column) for column in columns]
        if "input" in header:
            if len(set(header)) < len(header):
                raise ConfigError(f"{name}: a column is there twice: {first}")
            return header, delimiter
    raise ConfigError(f"{name}: the first line has no column 'text', 'input' or '文本': {first[:80]!r}")


def _is_utf8(row: Row) -> bool:
    return not any(
        "\udc80" <= character <= "\udcff"
        for value in (*row.fields.values(), *row.cells.values())
        if type(value) is str
        for character in value
    )


_READERS: Final[dict[Kind, Callable[[str, str], Iterator[Row]]]] = {
    "txt": _read_txt,
    "csv": _read_csv,
    "jsonl": _read_jsonl,
}
