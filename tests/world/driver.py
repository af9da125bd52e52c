"""What the drivers have in common: each reads a job a line, has its client do it, and prints what came of it as JSON."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

Speak = Callable[[dict], AsyncGenerator[bytes, None]]


def serve(**ways: Speak) -> None:
    """Do what each job names, by the function of that name, until there are no more jobs."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # some clients print
    asyncio.run(_serve(ways, answers))


async def _serve(ways: dict[str, Speak], answers) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            answer = await _do(ways, json.loads(line))
        except Exception as error:  # noqa: BLE001 (whatever a client raises is what came of it)
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


async def _do(ways: dict[str, Speak], job: dict) -> dict:
    """Hear one clip, or leave after ``leave_after`` seconds, by cancelling as a program does that no longer listens.

    An empty piece says that the client is set up, and asks now.
    """
    heard, first, begun = [], None, time.perf_counter()
    try:
        async with asyncio.timeout(job.get("leave_after")), aclosing(ways[job["do"]](job)) as clip:
            async for sound in clip:
                if sound:
                    first = first or time.perf_counter()
                    heard.append(sound)
                else:
                    begun = time.perf_counter()
    except TimeoutError:
        if "leave_after" not in job:
            raise
    ended = time.perf_counter()
    Path(job["file"]).write_bytes(b"".join(heard))
    first_ms = first and round((first - begun) * 1000)
    return {"first_ms": first_ms, "all_ms": round((ended - begun) * 1000), "rate_hz": job.get("rate_hz")}
