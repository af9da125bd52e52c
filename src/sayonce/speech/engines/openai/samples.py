"""Raw samples as they arrive from a server, in any encoding and byte order, as PCM16."""

from __future__ import annotations

from typing import Final

import numpy as np

from sayonce.audio.decode import text_detection
from sayonce.audio.decode.g711 import ALAW, MULAW
from sayonce.errors import BadAudio
from sayonce.speech.engines.openai.label import Shape

_TELLING_BYTES: Final = 1024
_TAIL_BYTES: Final = 512
_TABLES: Final = {"mulaw": MULAW, "alaw": ALAW}


class SamplesReader:
    """Turns bytes into whole PCM16 frames. For one answer."""

    def __init__(self, shape: Shape) -> None:
        self._order = shape.order
        self._table = _TABLES.get(shape.encoding)
        self._block = shape.channels * (1 if self._table is not None else 2)
        self._held = b""
        self._tail = b""

    def feed(self, raw: bytes) -> bytes:
        """Return the frames that are whole by now, possibly none."""
        self._tail = (self._tail + raw[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        self._held += raw
        if self._order is None and self._held.strip(b"\0"):
            if len(self._held) < _TELLING_BYTES:
                return b""
            self._order = told_order(self._held)
        return self._take()

    def finish(self) -> tuple[bytes, int]:
        """Return the last frames, and how many bytes behind the last whole one were dropped.

        Raises:
            BadAudio: the server broke off, and said so in the middle of its samples.

        """
        if (text_detection.ends_with_text if self._table is None else text_detection.ends_with_message)(self._tail):
            raise BadAudio("The samples end with the text of an error")
        if self._order is None:
            self._order = told_order(self._held)
        return self._take(), len(self._held)

    def _take(self) -> bytes:
        whole = len(self._held) - len(self._held) % self._block
        raw, self._held = self._held[:whole], self._held[whole:]
        if self._table is not None:
            return self._table[np.frombuffer(raw, np.uint8)].tobytes()
        return np.frombuffer(raw, ">i2").astype("<i2").tobytes() if self._order == "big" else raw


def told_order(raw: bytes) -> str:
    """Return the byte order in which samples are smoother: in the wrong one, sound is noise."""
    even = raw[: len(raw) - len(raw) % 2]
    roughness = {
        order: float(np.abs(np.diff(np.frombuffer(even, dtype).astype(np.int32))).sum())
        for order, dtype in (("big", ">i2"), ("little", "<i2"))
    }
    return "little" if roughness["little"] < roughness["big"] else "big"
