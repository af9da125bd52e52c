"""No sound is taken for text."""

import numpy as np
import pytest

from sayonce.audio.decode import text_detection
from tests.helpers.audio_files import speech


def sounds():
    dice = np.random.default_rng(7)
    time = np.arange(4_800) / 24_000
    yield from (speech(seed, 0.2, rate) for seed in range(40) for rate in (8_000, 24_000))
    yield from (np.zeros(500), np.full(500, 32_767), np.full(500, 16_705), np.full(500, 110))
    for level in (1, 5, 40, 300, 3_000, 30_000):
        yield from (dice.normal(offset, level, 2_000) for offset in (0, 80, 110, 500, 9_000, 20_000))
        yield from (dice.uniform(-level, level, 2_000) for _ in range(20))
        for hertz in (20, 50, 97, 440, 3_000):
            tone = level * np.sin(2 * np.pi * hertz * time)
            yield from (tone, np.sign(tone) * level, np.clip(tone * 20, -level, level))
            yield from (np.rint(tone / 256) * 256, np.rint(tone / 257) * 257, np.abs(tone))


@pytest.mark.parametrize("dtype", ["<i2", ">i2"])
def test_no_sound_is_taken_for_text_wherever_it_begins_or_ends(dtype):
    for samples in sounds():
        raw = np.clip(np.rint(samples), -32_768, 32_767).astype(dtype).tobytes()
        for start in range(0, len(raw) - 512, 38):
            part = raw[start : start + 512]
            assert not text_detection.begins_with_text(part), samples
            assert not text_detection.begins_with_wide_text(part), samples
            assert not text_detection.ends_with_text(part), samples
