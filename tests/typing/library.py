"""What type checkers make of the library; it is checked and never run."""

from __future__ import annotations

from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import sayonce

Vector = NDArray[np.float32]


async def asynchronous(image: bytes) -> None:
    async with sayonce.open("redis://localhost", secret=b"s") as cache:
        assert_type(cache, sayonce.Cache)

        @cache.remember("plain", revision="1")
        def plain(image: bytes, *, size: int = 224) -> Vector:
            raise NotImplementedError

        @cache.remember("async", revision="1", tags=["a"], spec=("float32", (256,)))
        async def coroutine(image: bytes) -> Vector:
            raise NotImplementedError

        @cache.remember("batch", revision="1", batch=True)
        def batch(texts: list[str]) -> list[Vector]:
            raise NotImplementedError

        assert_type(await plain(image, size=3), Vector)
        assert_type(await coroutine(image), Vector)
        assert_type(await batch(["a"]), list[Vector])
        assert_type(await plain.batch([image]), list[Vector])
        assert_type(await plain.cached(image), bool)
        assert_type(plain.key(image), sayonce.Digest)
        await plain("text")  # type: ignore[arg-type]
        await plain(image, sise=3)  # type: ignore[call-arg]
        cache.remember("x")  # type: ignore[call-arg] # without a revision
        cache.remember("x", revision="1", contents=("a",))  # type: ignore[call-arg]


def synchronous(image: bytes) -> None:
    with sayonce.open_sync() as cache:
        assert_type(cache, sayonce.SyncCache)

        @cache.remember("plain", revision="1")
        def plain(image: bytes) -> Vector:
            raise NotImplementedError

        @cache.remember("async", revision="1")
        async def coroutine(image: bytes) -> Vector:
            raise NotImplementedError

        class Model:
            @cache.remember("method", revision="1", ignore=("self",))
            def encode(self, image: bytes) -> Vector:
                raise NotImplementedError

        assert_type(plain(image), Vector)
        assert_type(coroutine(image), Vector)
        assert_type(Model().encode(image), Vector)
        assert_type(sayonce.Voice.from_audio("clip.wav").id, str)
