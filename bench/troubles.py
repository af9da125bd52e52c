"""The kinds of trouble that ``docs/guarantees.md`` names for Redis, each with the bound that stands there.

The faults are those that the tests put Redis through.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.helpers.deployments import Cluster, Node, SentinelSet, wait_until
from tests.helpers.faults import (
    OUTAGES,
    REFUSED_WRITES,
    Fault,
    Scene,
    damaged,
    killed,
    on_the_wire,
    password_set,
    stopped,
)
from tests.helpers.steady_load import NUMBERS, any_of
from tests.helpers.store_in_trouble import BOUND_SECONDS, BUDGET_SECONDS, Stand, standing
from tests.helpers.tcp_proxy import wire_to

from sayonce.testing import FakeClock

DELAY_SECONDS = BUDGET_SECONDS / 5
DAY_SECONDS = 86_400
MEMORY_BYTES = 10_000_000


@dataclass
class Place:
    """A Redis, however deployed, how a cache over it is opened, and what happens to it."""

    open: Callable[[], AbstractAsyncContextManager[Stand]]
    fault: Callable[[Stand], AbstractContextManager[None]]


@dataclass(frozen=True)
class Bound:
    """What is promised of the latency that is added: at most so much by the worst request, or by the 99th percentile."""

    text: str
    worst_ms: float | None = None
    p99_ms: float | None = None
    hits: bool = False
    """Whether what is stored is a hit all the while."""
    then_nothing: bool = False
    """Whether nothing is added any more in the second half, when it has been found out."""


NONE = Bound("none", p99_ms=0)
HITS = Bound("none", p99_ms=0, hits=True)
DELAYED = Bound("the delay", p99_ms=1000 * DELAY_SECONDS, hits=True)
OUTAGE = Bound("5 budgets, then none", worst_ms=1000 * BOUND_SECONDS, then_nothing=True)
LONG_BUDGET_SECONDS = 10 * BUDGET_SECONDS
BUSY = Bound("40 budgets of 500 ms", worst_ms=40 * 1000 * LONG_BUDGET_SECONDS)
"""A look-up waits for one budget; who then computes waits on for a place, to learn who else does."""


@dataclass(frozen=True)
class Trouble:
    name: str
    place: Callable[[], AbstractAsyncContextManager[Place]]
    bound: Bound = OUTAGE
    at_start: bool = False
    """Whether the cache is opened when the trouble is there already."""
    ends_by_itself: bool = False
    """Whether the servers end it, as fast as they can."""
    new: bool = False
    """Whether each request is for a clip that nobody has asked for."""

    def pick(self) -> Callable[[], int]:
        return itertools.count(NUMBERS.stop).__next__ if self.new else any_of(NUMBERS)


# -- one server --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def server(fault: Fault, *, user: str = "", **options: Any) -> AsyncIterator[Place]:
    with tempfile.TemporaryDirectory() as directory, Node(Path(directory)).running() as node:
        async with wire_to(node.port) as wire:
            url = wire.url.replace("//", f"//{user}")
            yield Place(partial(standing, url, **options), lambda _: fault(Scene(node, wire)))


@asynccontextmanager
async def jumping(seconds: float) -> AsyncIterator[Place]:
    clock = FakeClock()

    @contextmanager
    def jump(_: Scene) -> Iterator[None]:
        clock.advance(seconds)
        yield
        clock.advance(-seconds)

    async with server(jump, clock=clock) as place:
        yield place


def delayed(seconds: float, **options: Any) -> AbstractAsyncContextManager[Place]:
    return server(lambda scene: on_the_wire(scene, delay_seconds=seconds), **options)


ONE_SERVER = [
    *(Trouble(name, partial(server, fault)) for name, fault in OUTAGES.items()),
    Trouble("wrong password at the start", partial(server, password_set, user="default:wrong@"), at_start=True),
    Trouble("down at the start", partial(server, killed), at_start=True),
    Trouble("stopped, new clips", partial(server, stopped), new=True),
    Trouble("stopped, clips in memory", partial(server, stopped, memory_bytes=MEMORY_BYTES), HITS),
    Trouble(f"slow within the budget, {1000 * DELAY_SECONDS:g} ms", partial(delayed, DELAY_SECONDS), DELAYED),
    # 200 requests/s of 0.2 s each are more than the 32 that may be under way.
    Trouble("more requests than connections", partial(delayed, 0.2, budget_seconds=LONG_BUDGET_SECONDS), BUSY),
    *(Trouble(name, partial(server, fault), HITS) for name, fault in REFUSED_WRITES.items()),
    *(Trouble(f"{name}, new clips", partial(server, fault), NONE, new=True) for name, fault in REFUSED_WRITES.items()),
    Trouble("damaged values", partial(server, damaged), NONE),
    Trouble("clock a day ahead", partial(jumping, DAY_SECONDS), NONE),
    Trouble("clock a day back", partial(jumping, -DAY_SECONDS), NONE),
]

# -- Sentinel ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def sentinel(fault: Callable[[SentinelSet], AbstractContextManager[None]]) -> AsyncIterator[Place]:
    with tempfile.TemporaryDirectory() as directory, SentinelSet(Path(directory)).running() as sentinels:
        yield Place(partial(standing, sentinels.url), lambda _: fault(sentinels))


@contextmanager
def primary_lost(loss: Callable[[Node], None], sentinels: SentinelSet) -> Iterator[None]:
    lost = sentinels.primary
    loss(lost)
    yield
    wait_until(lambda: sentinels.primary is not lost)


@contextmanager
def sentinel_hangs(sentinels: SentinelSet) -> Iterator[None]:
    sentinels.sentinels[0].stop()
    yield
    sentinels.sentinels[0].cont()


SENTINEL = [
    Trouble(f"Sentinel: primary {name}", partial(sentinel, partial(primary_lost, loss)), OUTAGE, ends_by_itself=True)
    for name, loss in (("killed", Node.kill), ("stopped", Node.stop))
]
SENTINEL.append(Trouble("a Sentinel hangs at the start", partial(sentinel, sentinel_hangs), OUTAGE, at_start=True))

# -- Cluster -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def cluster(fault: Callable[[Cluster, Stand], AbstractContextManager[None]]) -> AsyncIterator[Place]:
    with tempfile.TemporaryDirectory() as directory, Cluster(Path(directory)).running() as servers:
        yield Place(partial(standing, servers.url), partial(fault, servers))


@contextmanager
def one_lost(loss: Callable[[Node], None], servers: Cluster, stand: Stand) -> Iterator[None]:
    lost = servers.owner(stand.name(0))
    loss(lost)
    yield
    wait_until(lambda: servers.replaced(lost))


@contextmanager
def one_lost_for_good(servers: Cluster, stand: Stand) -> Iterator[None]:
    with servers.in_part(stand.name(0)):
        yield
    wait_until(servers.served)


@contextmanager
def all_stopped(servers: Cluster, _: Stand) -> Iterator[None]:
    for node in servers.nodes:
        node.stop()
    yield
    for node in servers.nodes:
        node.cont()
    wait_until(servers.served)


@contextmanager
def resharded(servers: Cluster, stand: Stand) -> Iterator[None]:
    """Move the slots of all clips: redirected with ASK in the block, and with MOVED after it."""
    with ExitStack() as stack:
        for name in map(stand.name, NUMBERS):
            source, target = stack.enter_context(servers.moving(name))
            source.call("MIGRATE", target.host, target.port, name, 0, 5000)
        yield


CLUSTER = [
    *(
        Trouble(f"Cluster: primary {name}", partial(cluster, partial(one_lost, loss)), ends_by_itself=True)
        for name, loss in (("killed", Node.kill), ("stopped", Node.stop))
    ),
    Trouble("Cluster: primary and replica lost, the rest served", partial(cluster, one_lost_for_good)),
    Trouble("Cluster: all stopped", partial(cluster, all_stopped)),
    Trouble("Cluster: slots that move", partial(cluster, resharded), Bound("a round trip", p99_ms=0, hits=True)),
]

TROUBLES = [*ONE_SERVER, *SENTINEL, *CLUSTER]
