"""Motion features of videos: a file in, a bundle of arrays out, identified by the file's bytes.

The features are real if small ones: phase correlation between frames (Kuglin and Hines 1975) gives the global motion.

    python examples/motion_features.py
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import sayonce


@dataclass(frozen=True)
class Motion:
    shifts: NDArray[np.int16]
    """Per pair of frames: rows, columns."""
    energy: NDArray[np.float32]


def write_video(path: Path, step: int) -> None:
    """Write a noise picture that moves by ``step`` columns a frame."""
    picture = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
    np.save(path, np.stack([np.roll(picture, step * number, axis=1) for number in range(12)]))


with sayonce.open_sync("memory://") as cache, tempfile.TemporaryDirectory() as directory:

    @cache.remember("phase-correlation", revision="1", content=("video",))
    def motion(video: Path) -> Motion:
        print(f"  computing {video.name}")
        frames = np.load(video, allow_pickle=False).astype(np.float32)
        spectra = np.fft.fft2(frames)
        cross = spectra[1:] * spectra[:-1].conj()
        peaks = np.fft.ifft2(cross / np.maximum(np.abs(cross), 1e-9)).real
        rows, columns = np.unravel_index(peaks.reshape(len(peaks), -1).argmax(axis=1), peaks.shape[1:])
        energy = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2))
        return Motion(np.stack([rows, columns], axis=1).astype(np.int16), energy)

    first, renamed, faster = (Path(directory) / name for name in ("walk.npy", "copy-of-walk.npy", "run.npy"))
    write_video(first, step=2)
    write_video(renamed, step=2)
    write_video(faster, step=5)
    for video in (first, renamed, faster, first):
        print(f"{video.name}: moves by {motion(video).shifts[0].tolist()}")
