"""What a Redis server's settings mean for a cache: a bound on its memory, and what it does when that is reached."""

from __future__ import annotations

from typing import Any

import msgspec


class Health(msgspec.Struct, frozen=True):
    """What one server says of its memory and its clock."""

    address: str
    max_bytes: int
    policy: str
    used_bytes: int
    clock: float
    logs_writes: bool
    """Whether it keeps what was written last over a restart: snapshots alone do not."""

    @property
    def warning(self) -> tuple[str, str] | None:
        """What is wrong with the settings, and what to do about it."""
        if not self.max_bytes:
            return "Redis has no memory bound", "set its maxmemory, and maxmemory-policy to volatile-lfu"
        if self.policy == "noeviction":
            return "a full Redis will refuse new clips (noeviction)", "set its maxmemory-policy to volatile-lfu"
        if self.policy.startswith("allkeys-"):
            return (
                f"a full Redis may evict what has no expiry, as the record of purges ({self.policy})",
                "set its maxmemory-policy to volatile-lfu",
            )
        return None


async def health_of(redis: Any, address: str) -> Health:
    """Ask a server; needs the rights to INFO and TIME."""
    async with redis.pipeline(transaction=False) as pipeline:
        memory, persistence, (seconds, _) = await pipeline.info("memory").info("persistence").time().execute()
    return Health(
        address,
        max_bytes=int(memory["maxmemory"]),
        policy=str(memory["maxmemory_policy"]),
        used_bytes=int(memory["used_memory"]),
        clock=float(seconds),
        logs_writes=bool(persistence.get("aof_enabled")),
    )
