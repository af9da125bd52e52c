"""One audio file, or one of several that were joined: its end, its length, and the way to decode it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from sayonce.audio.samples import Block
from sayonce.errors import BadAudio


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """The facts that an audio file states about itself.

    ``frames`` is the exact number of samples a channel where the container's frames say it; else ``seconds`` is the
    least duration. ``decoder_version`` is raised when the samples of a lossy format come out otherwise than before.
    """

    name: str
    end: int
    blocks: Callable[[], Iterator[Block]]
    frames: int | None = None
    seconds: float = 0
    decoder_version: int = 1

    def check(self, frames: int, sample_rate_hz: int) -> None:
        """Compare the number of decoded samples with the length that the container states.

        Raises:
            BadAudio: it differs.

        """
        if self.frames is not None and frames != self.frames:
            what = "is cut off" if frames < self.frames else "holds more than it says"
            raise BadAudio(f"The {self.name} audio {what}: {frames} of {self.frames} samples")
        if frames < self.seconds * sample_rate_hz - 1:
            raise BadAudio(f"The {self.name} audio is cut off: {frames / sample_rate_hz:.3f} of {self.seconds:.3f} s")
