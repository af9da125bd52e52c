"""Records in Redis: a stream for each part, under the key's hash tag."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from redis.exceptions import ResponseError

from sayonce.stores.leases import OWNER_CHARACTERS
from sayonce.stores.records import READ_BYTES, READ_RECORDS, RECORD_BYTES, RECORDS_SECONDS, Question, Records, Sighting
from sayonce.stores.redis.leases import At, ms, text_of_owner
from sayonce.stores.redis.names import lease_name, records_name
from sayonce.stores.redis.script import Script

_RECORDS: Final = Script("records", list[list[bytes]])


class RedisRecords(Records):
    """``together`` says that one server has every key, and so answers all questions at once."""

    def __init__(self, at: At, *, together: bool) -> None:
        self._at = at
        self._together = together

    async def publish(self, key: bytes, owner: str, part: str, records: Sequence[bytes]) -> None:
        name = records_name(key, part, owner)
        await self._at(name, partial(_publish, name=name, records=records))

    async def read(self, questions: Sequence[Question]) -> Sequence[Sighting]:
        if self._together:
            return await self._sightings(questions)
        answers = await asyncio.gather(*(self._sightings([question]) for question in questions))
        return [sighting for (sighting,) in answers]

    async def _sightings(self, questions: Sequence[Question]) -> Sequence[Sighting]:
        names = [name for each in questions for name in _names(each)]
        bounds = (OWNER_CHARACTERS, READ_RECORDS, RECORD_BYTES, READ_BYTES)
        positions = [question.position or "-" for question in questions]

        async def look(redis: Any) -> list[Sighting]:
            answers = await _RECORDS(redis, names, *bounds, *positions)
            return [_sighting(question, *answer) for question, answer in zip(questions, answers, strict=True)]

        return await self._at(names[0], look)


def _names(question: Question) -> tuple[str, str]:
    return lease_name(question.key), records_name(question.key, question.part, question.owner)


async def _publish(redis: Any, *, name: str, records: Sequence[bytes]) -> None:
    """Add records; a value of their name that is no stream is another program's, and is removed."""
    try:
        await _add(redis, name, records)
    except ResponseError as error:
        if "WRONGTYPE" not in str(error):  # a transaction's error is not the bare message
            raise
        await redis.unlink(name)
        await _add(redis, name, records)


async def _add(redis: Any, name: str, records: Sequence[bytes]) -> None:
    """Add them as one transaction, so that no half of it is done when it is run once more at another server."""
    async with redis.pipeline(transaction=True) as pipeline:
        for record in records:
            pipeline.xadd(name, {b"r": record})
        pipeline.pexpire(name, ms(RECORDS_SECONDS))
        await pipeline.execute()


def _sighting(question: Question, holder: bytes, *found: bytes) -> Sighting:
    position = found[-2].decode() if found else question.position
    return Sighting(text_of_owner(holder) == question.owner, list(found[1::2]), position)
