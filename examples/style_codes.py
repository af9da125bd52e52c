"""Style codes of images: an array of pixels in, a small vector out, computed once an image.

The encoder is a real if small one: the Gram matrix of a bank of oriented filters, the texture statistics of
Gatys et al. 2015 (https://arxiv.org/abs/1505.07376) on Gabor filters instead of a network.

    python examples/style_codes.py
"""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

import sayonce

SIZE = 64
FILTERS = 16


def gabor_bank() -> NDArray[np.complex64]:
    y, x = np.mgrid[-SIZE // 2 : SIZE // 2, -SIZE // 2 : SIZE // 2]
    bank = []
    for number in range(FILTERS):
        angle, wavelength = np.pi * (number % 8) / 8, (4.0, 8.0)[number // 8]
        along = x * np.cos(angle) + y * np.sin(angle)
        wave = np.cos(2 * np.pi * along / wavelength) * np.exp(-(x**2 + y**2) / (2 * wavelength**2))
        bank.append(np.fft.fft2(wave - wave.mean()))
    return np.stack(bank).astype(np.complex64)


BANK = gabor_bank()


async def main() -> None:
    async with sayonce.open("memory://") as cache:
        runs = 0

        @cache.remember("gabor-style", revision="1", tags=("model=gabor",), spec=("float32", (FILTERS * FILTERS,)))
        def style(image: NDArray[np.uint8]) -> NDArray[np.float32]:
            nonlocal runs
            runs += 1
            spectrum = np.fft.fft2(image.mean(axis=2) / 255)
            responses = np.fft.ifft2(spectrum * BANK).real.reshape(FILTERS, -1)
            return (responses @ responses.T / responses.shape[1]).astype(np.float32).ravel()

        noise = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        changed = noise.copy()
        changed[SIZE // 2, SIZE // 2] ^= 1  # one pixel: another image, another key

        await asyncio.gather(*(style(noise) for _ in range(50)))
        print(f"50 requests for one image: {runs} run of the encoder")
        await style.batch([noise, noise[::-1][::-1], changed])
        print(f"the same image twice and one with a changed pixel: {runs} runs")
        print(f"{(await style(noise)).shape} {(await style(noise)).dtype}")


asyncio.run(main())
