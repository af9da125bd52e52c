"""References of noise, one for each seed, and their upload as voices."""

import io

import numpy as np
import soundfile


def reference(seed=1, container="WAV", seconds=1.0):
    noise = np.random.default_rng(seed).integers(-8000, 8000, int(16000 * seconds), np.int16)
    file = io.BytesIO()
    soundfile.write(file, noise, 16000, format=container, subtype="PCM_16")
    return file.getvalue()


async def upload(client, name="alice", audio=None, ref_text="", **more):
    files = {"audio_sample": ("clip.wav", reference() if audio is None else audio)}
    return await client.post("/v1/audio/voices", data={"name": name, "ref_text": ref_text}, files=files, **more)
