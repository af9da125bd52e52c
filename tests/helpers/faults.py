"""What is done to a Redis, or to the way to it, to bring it into each kind of trouble, and undone after the block."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sayonce.stores.redis.names import PREFIX
from tests.helpers.deployments import Node, program, wait_until
from tests.helpers.tcp_proxy import Wire


@dataclass
class Scene:
    """What a fault happens to."""

    node: Node
    wire: Wire


@contextlib.contextmanager
def killed(scene: Scene) -> Iterator[None]:
    scene.node.kill()
    try:
        yield
    finally:
        scene.node.start()


@contextlib.contextmanager
def stopped(scene: Scene) -> Iterator[None]:
    scene.node.stop()
    try:
        yield
    finally:
        scene.node.cont()


@contextlib.contextmanager
def on_the_wire(scene: Scene, **faults: object) -> Iterator[None]:
    for name, value in faults.items():
        setattr(scene.wire, name, value)
    try:
        yield
    finally:
        scene.wire.heal()


@contextlib.contextmanager
def half_open(scene: Scene) -> Iterator[None]:
    scene.wire.swallow()
    try:
        yield
    finally:
        scene.wire.heal()


@contextlib.contextmanager
def password_set(scene: Scene) -> Iterator[None]:
    with scene.node.client() as admin:
        admin.execute_command("ACL SETUSER default >another")
        admin.client_kill_filter(_type="normal", skipme=True)
        try:
            yield
        finally:
            admin.execute_command("ACL SETUSER default nopass")


@contextlib.contextmanager
def rights_lost(scene: Scene) -> Iterator[None]:
    scene.node.call("ACL SETUSER default -get -set")
    try:
        yield
    finally:
        scene.node.call("ACL SETUSER default +@all")


@contextlib.contextmanager
def loading(scene: Scene) -> Iterator[None]:
    """Start again with a data set that takes seconds to load."""
    node = scene.node
    with node.client() as admin:
        for number in range(200):
            admin.set(f"filler {number}", "x")
        admin.save()
    node.kill()
    slow = ["--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024"]
    node.launch([program("redis-server"), "--port", str(node.port), "--dir", str(node.directory), *slow])
    try:
        yield
    finally:
        wait_until(node.up)
        node.kill()
        (node.directory / "dump.rdb").unlink()
        node.start()


@contextlib.contextmanager
def crowded(scene: Scene) -> Iterator[None]:
    with scene.node.client() as admin:
        admin.config_set("maxclients", "1")
        admin.client_kill_filter(_type="normal", skipme=True)
        try:
            yield
        finally:
            admin.config_set("maxclients", "1000")


@contextlib.contextmanager
def full(scene: Scene) -> Iterator[None]:
    scene.node.call("CONFIG SET maxmemory 1 maxmemory-policy noeviction")
    try:
        yield
    finally:
        scene.node.call("CONFIG SET maxmemory 0")


@contextlib.contextmanager
def read_only(scene: Scene) -> Iterator[None]:
    scene.node.call("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        scene.node.call("REPLICAOF", "NO", "ONE")


@contextlib.contextmanager
def cannot_save(scene: Scene) -> Iterator[None]:
    """Have snapshots fail, as on a disk that is full or not writable; writes are refused from then on."""
    in_its_way = scene.node.directory / "dump.rdb"
    in_its_way.mkdir()
    with scene.node.client() as admin:
        admin.config_set("save", "3600 1")
        admin.bgsave()
        wait_until(lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "err")
        try:
            yield
        finally:
            admin.config_set("save", "")
            in_its_way.rmdir()


@contextlib.contextmanager
def damaged(scene: Scene) -> Iterator[None]:
    """Leave no value as it was: each is emptied, foreign, swapped, cut or has a bit flipped, and one is a list."""
    with scene.node.client() as admin:
        names = sorted(admin.scan_iter(f"{PREFIX}*", _type="string"))
        values = admin.mget(names)
        for place, (name, value) in enumerate(zip(names, values, strict=True)):
            flipped = value[: len(value) // 2] + bytes([value[len(value) // 2] ^ 1]) + value[len(value) // 2 + 1 :]
            admin.set(name, [b"", b"x" * 100, values[place - 1], value[:-1], flipped][place % 5])
        admin.delete(names[0])
        admin.lpush(names[0], "another program's")
    yield


Fault = Callable[[Scene], contextlib.AbstractContextManager[None]]

OUTAGES: dict[str, Fault] = {
    "killed: connection refused": killed,
    "stopped": stopped,
    "slow": lambda scene: on_the_wire(scene, delay_seconds=0.2),
    "half-open": half_open,
    "reset": lambda scene: on_the_wire(scene, reset=True),
    "cut in mid-answer": lambda scene: on_the_wire(scene, cut_at=3),
    "another protocol": lambda scene: on_the_wire(scene, reply=b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "LOADING, by an imitation": lambda scene: on_the_wire(scene, reply=b"-LOADING Redis is loading the dataset\r\n"),
    "LOADING": loading,
    "NOAUTH": password_set,
    "NOPERM": rights_lost,
    "too many clients": crowded,
}
REFUSED_WRITES: dict[str, Fault] = {"OOM": full, "READONLY": read_only, "MISCONF": cannot_save}
