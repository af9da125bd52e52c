"""The health of a Redis server as a cache: the bound on its memory, and its policy when the bound is reached."""

from __future__ import annotations

from typing import Any

import msgspec


class Health(msgspec.Struct, frozen=True):
    """A server's own account of its memory, its clock and its persistence."""

    address: str
    max_bytes: int
    policy: str
    used_bytes: int
    clock: float
    logs_writes: bool
    """Whether the last writes survive a restart, as with an append-only file; snapshots alone lose them."""

    @property
    def warning(self) -> tuple[str, str] | None:
        """The mistake in the settings, and the advice; None where all is well."""
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
