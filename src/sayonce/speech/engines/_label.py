"""What a Content-Type says of raw samples: their rate, channels, encoding and byte order."""

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
_BITS: Final = ("bits", "bit-depth", "bitdepth", "bits-per-sample")


class Label(msgspec.Struct, frozen=True):
    """A parsed Content-Type."""

    kind: str
    parameters: dict[str, str]

    @property
    def is_no_sound(self) -> bool:
        return self.kind.startswith(_NO_SOUND)

    def is_of_samples(self, asked: str) -> bool:
        """Whether bytes without any mark are samples: they were asked for, or the label says so with their rate."""
        stated = self.kind in _LINEAR | _MULAW | _ALAW and ("rate" in self.parameters or self.kind not in _LINEAR)
        return (asked == "pcm" and self.kind not in _COMPRESSED and not self.is_no_sound) or stated


class Shape(msgspec.Struct, frozen=True):
    """How raw samples are to be read; ``order`` None where only the samples tell it."""

    sample_rate_hz: int
    channels: int
    encoding: str = "linear"
    order: str | None = "little"


def read_label(content_type: str) -> Label:
    """Parse a Content-Type; what is malformed in it is left out."""
    kind, *parameters = content_type.lower().split(";")
    pairs = (each.partition("=") for each in parameters)
    return Label(kind.strip(), {name.strip(): value.strip().strip('"') for name, _, value in pairs})


def shape_of(name: str, label: Label, configured_hz: int | None) -> Shape:
    """Return how samples with this label are read.

    Raises:
        EngineError: the label contradicts the configuration, or says what cannot be read.

    """
    if label.kind in _OTHER_WIDTHS or any(label.parameters.get(each, "16") != "16" for each in _BITS):
        raise EngineError(f"{name!r} answered with {_told(label)}: raw samples are read with 16 bits only")
    encoding = "mulaw" if label.kind in _MULAW else "alaw" if label.kind in _ALAW else "linear"
    default = DEFAULT_RATE_HZ if encoding == "linear" else _TELEPHONE_RATE_HZ
    rate, channels = _count(name, label, "rate"), _count(name, label, "channels")
    if rate is None and encoding != "linear":
        rate = default
    if rate is not None and configured_hz is not None and rate != configured_hz:
        raise EngineError(
            f"{name!r} answered with {_told(label)}, which is {rate} Hz, and engines.{name}.sample_rate_hz says "
            f"{configured_hz}: correct the setting, or leave it out"
        )
    rate, channels = rate or configured_hz or default, channels or 1
    if rate not in _RATES or channels not in _CHANNELS:
        raise EngineError(f"{name!r} answered with {_told(label)}: {rate} Hz in {channels} channels cannot be read")
    return Shape(rate, channels, encoding, _order(label))


def _order(label: Label) -> str | None:
    """RFC 2586 has the high byte first in L16, and many servers that say L16 send it last: there the samples tell."""
    stated = label.parameters.get("endianness") or label.parameters.get("endian") or ""
    if stated:
        return "big" if stated.startswith("b") else "little"
    return None if label.kind in ("audio/l16", "audio/x-l16") else "little"


def _count(name: str, label: Label, parameter: str) -> int | None:
    value = label.parameters.get(parameter)
    if value is None:
        return None
    if not value.isdecimal() or len(value) > 9 or not int(value):  # noqa: PLR2004 (no rate is longer)
        raise EngineError(f"{name!r} answered with {_told(label)}: its {parameter} is no number")
    return int(value)


def _told(label: Label) -> str:
    told = ";".join((label.kind, *(f"{name}={value}" for name, value in label.parameters.items())))
    return repr(told[:100])
