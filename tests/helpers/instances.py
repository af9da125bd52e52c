"""Caches over one store, as separate instances have them, and what is said through one."""

import time
from contextlib import asynccontextmanager

from sayonce.cache import Cache, Lookup, Made
from sayonce.core.envelope import Sealer
from sayonce.core.key import Secret
from sayonce.core.outcome import Outcome
from sayonce.features import library
from sayonce.stores import open_store

SECRET = Secret(b"a secret of all instances")


@asynccontextmanager
async def instance(url, secret=SECRET, clock=time.time, namespace=""):
    store = open_store(url, sealer=Sealer(secret), clock=clock, budget_seconds=0.2)
    async with Cache(store, secret=secret, clock=clock, budget_seconds=0.2, namespace=namespace) as cache:
        yield cache


async def say(cache, what, said, *tags):
    """Return what is heard, and whether it was stored."""

    async def lead(flight):
        return Made(body=said)

    answer = await cache.answer(Lookup(cache.key(what), lead, tags=tags))
    return (await answer.result()).body, answer.outcome is Outcome.HIT


def patient_cache(url):
    """Return a cache that a busy machine does not make give up on its store, and compute alone."""
    secret = Secret()
    store = open_store(url, sealer=Sealer(secret), budget_seconds=10)
    return library.Cache(store, secret=secret, budget_seconds=10)
