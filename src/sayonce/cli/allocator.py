"""The C library's allocator, told to give back what clips took. As it is, glibc's keeps it, and grows for ever.

It has a heap for every thread, and gives back only what is free at a heap's end; a block of its own, which goes back as
soon as it is free, is only for what is larger than the largest block that ever was free. While 64 clients asked for new
texts, beside 75 MB in use 11 MB were free after ten seconds, and 34 MB after eighty. Other C libraries are left alone.
"""

from __future__ import annotations

import ctypes
import threading
import time
from typing import Final

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Of malloc.h."""
_OWN_BLOCK_BYTES: Final = 128 * 1024
"""What is as large has a block of its own, unless a model computes here: a take, most clips in WAV, and few in MP3, as these
take the system's time."""
_MODEL_BLOCK_BYTES: Final = 8 * 1024 * 1024
"""Where a model computes in this process: it takes and frees blocks of 0.1 to 4 MB for each text, and new pages for each of
them took hibari 11 ms of the 27 until its first sound."""
_FREE_END_BYTES: Final = 16 * 1024 * 1024
"""So much stays free at the end of the heap until the next look, for the next clips."""


_EVERY_SECONDS: Final = 5.0
"""To look through a heap of 60 MB takes 1 to 3.5 ms, in which a thread that needs memory waits."""


def give_memory_back() -> None:
    """Have one heap for all threads, and large blocks outside it; before the process has threads.

    Now and then the heap's free pages go back, too.
    """
    library = _library()
    if library is None:
        return
    library.mallopt(_ARENA_MAX, 1)
    library.mallopt(_MMAP_THRESHOLD, _OWN_BLOCK_BYTES)
    library.mallopt(_TRIM_THRESHOLD, _FREE_END_BYTES)
    threading.Thread(target=_give_pages_back, args=(library,), name="sayonce-memory", daemon=True).start()


def keep_model_blocks() -> None:
    """Leave blocks of the sizes in which a model computes to the heap; its free pages still go back now and then."""
    library = _library()
    if library is not None:
        library.mallopt(_MMAP_THRESHOLD, _MODEL_BLOCK_BYTES)


def _library() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None


def _give_pages_back(library: ctypes.CDLL) -> None:
    while True:
        time.sleep(_EVERY_SECONDS)
        library.malloc_trim(0)
