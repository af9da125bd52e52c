"""Records: what the holder of a lease and the processes that follow it tell one another through a store.

Records stand under a key and the holder of its lease, in order, in several parts: the followers' challenges, the
holder's answers, and the computation itself. So a holder that was away for too long never mixes its records with its
successor's. Reading is bounded in size, and ``sayonce.cache`` verifies every record.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

import msgspec

RECORDS_SECONDS: Final = 600.0
"""How long published records outlast the last of them."""
ENDED_SECONDS: Final = 10.0
"""How long the records of a computation outlast its lease, for followers that still read."""
COMPUTATION: Final = "flight"
"""The part with the value as it is computed; it ends with the lease."""
RECORD_BYTES: Final = 1_048_576
"""How long a record may be: a longer one is read as an empty one."""
READ_BYTES: Final = 16 * RECORD_BYTES
"""How much is read at once."""
READ_RECORDS: Final = 64
"""How many records of one part are read at once."""


class Question(msgspec.Struct, frozen=True):
    """Asks for a part of a holder's records of a key, after a position; the first position is ``""``."""

    key: bytes
    owner: str
    part: str
    position: str = ""


class Sighting(msgspec.Struct, frozen=True):
    """The answer to a question: whether the holder still has its lease, and the records after the position."""

    held: bool
    records: Sequence[bytes]
    position: str


class Records(ABC):
    """The records of a store that several processes reach; every method may raise ``StoreError``."""

    @abstractmethod
    async def publish(self, key: bytes, owner: str, part: str, records: Sequence[bytes]) -> None:
        """Add records to a part."""

    @abstractmethod
    async def read(self, questions: Sequence[Question]) -> Sequence[Sighting]:
        """Answer several questions at once, in order.

        The lease is looked at before its records: once it is gone, they are all that there will be.
        """
