"""The label of raw samples, as a Content-Type has it: rate, channels, encoding and byte order."""

from __future__ import annotations

from typing import Final

import msgspec

from sayonce.errors import EngineError

DEFAULT_RATE_HZ: Final = 24_000
"""OpenAI's, where neither the server nor the configuration says another."""
_TELEPHONE_RATE_HZ: Final = 8_000
_MULAW: Final = frozenset(("audio/basic", "audio/pcmu", "audio/mulaw", "audio/x-mulaw", "audio/ulaw"))
_ALAW: Final = frozenset(("audio/pcma", "audio/alaw", "audio/x-alaw"))
_LINEAR: Final = frozenset(("audio/pcm", "audio/x-pcm", "audio/l16", "audio/x-l16", "audio/raw", "audio/x-raw"))
_OTHER_WIDTHS: Final = frozenset(("audio/l8", "audio/l20", "audio/l24", "audio/l32", "audio/dat12"))
_TEXT: Final = ("text/", "application/json", "application/problem+json", "application/xml", "application/xhtml")
_COMPRESSED: Final = frozenset(("audio/mpeg", "audio/mp3", "audio/aac"))
_NO_SOUND: Final = (*_TEXT, "multipart/", "image/", "message/", "font/")
_RATES: Final = range(4_000, 192_001)
_CHANNELS: Final = (1, 2)
_NAMES: Final = {
    **dict.fromkeys(("rate", "samplerate", "samplingrate", "sr", "hz", "frequency"), "rate"),
    **dict.fromkeys(("channels", "channel", "ch", "numchannels", "channelcount"), "channels"),
    **dict.fromkeys(("bits", "bitdepth", "bitspersample", "samplesize"), "bits"),
    **dict.fromkeys(("format", "sampleformat", "encoding", "codec", "codecs", "subtype"), "format"),
    **dict.fromkeys(("endianness", "endian", "byteorder"), "endianness"),
}
"""Servers' names of the parameters, without hyphens and underscores."""
_UNHEARD: Final = frozenset(("charset", "q", "ptime", "maxptime", "duration", "name"))
"""Parameters that say nothing of how samples are read."""
_FORMATS: Final[dict[str, tuple[str, str]]] = {
    **dict.fromkeys(("1", "pcm", "lpcm", "linear", "linear16", "pcm16", "int16", "s16", "signedint"), ("linear", "")),
    **dict.fromkeys(("s16le", "pcms16le", "pcm16le"), ("linear", "little")),
    **dict.fromkeys(("s16be", "pcms16be", "pcm16be"), ("linear", "big")),
    **dict.fromkeys(("mulaw", "ulaw", "pcmu", "pcmmulaw"), ("mulaw", "")),
    **dict.fromkeys(("alaw", "pcma", "pcmalaw"), ("alaw", "")),
}
"""The encoding and the byte order of each, without hyphens and underscores."""


class Label(msgspec.Struct, frozen=True):
    """A parsed Content-Type, with the parameters under our names; ``told`` is how the server wrote it."""

    kind: str
    parameters: dict[str, str]
    told: str = ""
    contradicted: str = ""
    """A parameter that has two values."""

    @property
    def is_no_sound(self) -> bool:
        return self.kind.startswith(_NO_SOUND)

    @property
    def is_linear(self) -> bool:
        """Whether samples with this label have 16 bits."""
        encoding, _ = _FORMATS.get(_plain(self.parameters.get("format", "")), ("linear", ""))
        return encoding == "linear" and self.kind not in _MULAW | _ALAW

    def is_of_samples(self, asked: str) -> bool:
        """Whether bytes without any mark are samples: they were asked for, or the label says so."""
        stated = self.kind in _LINEAR | _MULAW | _ALAW
        return (asked == "pcm" and self.kind not in _COMPRESSED and not self.is_no_sound) or stated


class Shape(msgspec.Struct, frozen=True):
    """How raw samples are to be read; ``order`` None where only the samples tell it."""

    sample_rate_hz: int
    channels: int
    encoding: str = "linear"
    order: str | None = "little"


def read_label(content_type: str) -> Label:
    """Parse a Content-Type."""
    kind, *parameters = content_type.lower().split(";")
    found: dict[str, str] = {}
    contradicted = ""
    for each in parameters:
        name, _, value = (part.strip().strip('"') for part in each.partition("="))
        name = _NAMES.get(_plain(name), name)
        if name and found.setdefault(name, value) != value:
            contradicted = name
    return Label(kind.strip(), found, content_type, contradicted)


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "")


def shape_of(name: str, label: Label, configured_hz: int | None, *, asked: str) -> Shape:
    """Return how samples with this label are read.

    Raises:
        EngineError: the label contradicts itself or the configuration, or says what is not understood or cannot be read.

    """
    _check_parameters(name, label)
    encoding, order = _encoding(name, label)
    rate, channels = _count(name, label, "rate"), _count(name, label, "channels")
    if rate is None and encoding != "linear":
        rate = _TELEPHONE_RATE_HZ
    if rate is None and asked != "pcm":
        raise EngineError(
            f"{name!r} was asked for {asked} and answered with {_told(label)}, raw samples of which nothing says the "
            f"rate: set engines.{name}.response_format to 'pcm', and engines.{name}.sample_rate_hz to their rate"
        )
    if rate is not None and configured_hz is not None and rate != configured_hz:
        raise EngineError(
            f"{name!r} answered with {_told(label)}, which is {rate} Hz, and engines.{name}.sample_rate_hz says "
            f"{configured_hz}: correct the setting, or leave it out"
        )
    rate, channels = rate or configured_hz or DEFAULT_RATE_HZ, channels or 1
    if rate not in _RATES or channels not in _CHANNELS:
        raise EngineError(f"{name!r} answered with {_told(label)}: {rate} Hz in {channels} channels cannot be read")
    return Shape(rate, channels, encoding, order)


def _check_parameters(name: str, label: Label) -> None:
    if label.contradicted:
        raise EngineError(f"{name!r} answered with {_told(label)}: its {label.contradicted} has two values")
    if label.kind in _OTHER_WIDTHS or label.parameters.get("bits", "16") not in _widths(label):
        raise EngineError(f"{name!r} answered with {_told(label)}: raw samples are read with 16 bits only")
    unknown = label.parameters.keys() - _UNHEARD - set(_NAMES.values())
    if unknown:
        raise EngineError(f"{name!r} answered with {_told(label)}: the parameter {min(unknown)!r} is not understood")


def _widths(label: Label) -> tuple[str, ...]:
    return ("8", "16") if label.kind in _MULAW | _ALAW else ("16",)


def _encoding(name: str, label: Label) -> tuple[str, str | None]:
    """Return the encoding and the byte order, None where only the samples tell it.

    RFC 2586 has the high byte first in L16, and many servers that say L16 send it last.
    """
    by_kind = "mulaw" if label.kind in _MULAW else "alaw" if label.kind in _ALAW else "linear"
    told = label.parameters.get("format")
    encoding, order = _FORMATS.get(_plain(told), ("", "")) if told is not None else (by_kind, "")
    if by_kind not in ("linear", encoding) or not encoding:
        raise EngineError(
            f"{name!r} answered with {_told(label)}: samples in the format {told!r} are not read, only s16le, s16be, "
            "mulaw and alaw"
        )
    stated = _ORDERS.get(_plain(label.parameters.get("endianness", order)))
    if stated is None or order not in ("", stated):
        raise EngineError(f"{name!r} answered with {_told(label)}: its endianness is not understood")
    return encoding, stated or (None if label.kind in ("audio/l16", "audio/x-l16") else "little")


_ORDERS: Final = {
    "": "",
    **dict.fromkeys(("little", "littleendian", "le"), "little"),
    **dict.fromkeys(("big", "bigendian", "be", "network"), "big"),
}


def _count(name: str, label: Label, parameter: str) -> int | None:
    value = label.parameters.get(parameter)
    if value is None:
        return None
    if not value.isdecimal() or len(value) > 9 or not int(value):  # noqa: PLR2004 (no rate is longer)
        raise EngineError(f"{name!r} answered with {_told(label)}: its {parameter} is no number")
    return int(value)


def _told(label: Label) -> str:
    return repr(label.told[:100].lower())
