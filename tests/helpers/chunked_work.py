"""A computation that sends chunks and can be held, and a listener to what it sends."""

import asyncio

from sayonce.cache import Flight, Made


class Work:
    """Sends four chunks; waits for ``gate`` before the third."""

    def __init__(self, *chunks):
        self.chunks = chunks or (b"one", b"two", b"three", b"four")
        self.runs = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure = None

    async def __call__(self, flight: Flight) -> Made:
        self.runs += 1
        flight.begin("audio/pcm")
        for number, chunk in enumerate(self.chunks):
            if number == 2:
                await self.gate.wait()
                if self.failure:
                    raise self.failure
            flight.send(chunk)
        return Made(body=b"".join(self.chunks))


async def listen(answer) -> bytes:
    if answer.entry is not None:
        return answer.entry.body
    return b"".join([chunk async for chunk in answer.flight.chunks()])
