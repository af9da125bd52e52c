"""Text embeddings in batches: the function is called with the texts that are missing, and with no others.

The embedding is a real if small one: hashed character trigrams (Weinberger et al. 2009,
https://arxiv.org/abs/0902.2206), projected to 256 numbers and normalized.

    python examples/text_embeddings.py
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

import sayonce

DIMENSIONS = 256
PROJECTION = np.random.default_rng(7).standard_normal((4096, DIMENSIONS)).astype(np.float32)

with sayonce.open_sync("memory://") as cache:

    @cache.remember("trigram-embedding", revision="1", batch=True)
    def embed(texts: list[str]) -> list[NDArray[np.float32]]:
        print(f"  computing {len(texts)}: {texts}")
        counts = np.zeros((len(texts), len(PROJECTION)), np.float32)
        for row, text in enumerate(texts):
            padded = f"  {text} "
            for start in range(len(padded) - 2):
                counts[row, zlib.crc32(padded[start : start + 3].encode()) % len(PROJECTION)] += 1
        vectors = counts @ PROJECTION
        return list(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    embed(["where is my parcel", "please hold on"])
    question, other, third = embed(["where is my parcel?", "please hold on", "où est mon colis"])
    (known,) = embed(["where is my parcel"])
    print(f"likeness of the parcels: {known @ question:.2f}, of a parcel and a hold: {known @ other:.2f}")
