"""Redis as it is deployed: processes that can be killed, stopped and started again, Sentinel sets and Clusters."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

NODE_TIMEOUT_MS = 1000
SERVICE = "mymaster"
_GIVEN: set[int] = set()


def free_port() -> int:
    """Return a port that nobody has: not one of those that the system gives to outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _GIVEN:
            _GIVEN.add(port)
            return port


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for what another process does; what it raises of Redis counts as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except redis.RedisError as error:
            if time.monotonic() > deadline:
                raise error from None
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {condition}")
        time.sleep(0.02)


class Node:
    """One ``redis-server``, always on the same port and with the same options."""

    host = "127.0.0.1"

    def __init__(self, directory: Path, *options: str, name: str = "node") -> None:
        self.port = free_port()
        self.directory = directory / f"{name}-{self.port}"
        self.directory.mkdir()
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(host=self.host, port=self.port, socket_timeout=2, **options)

    def call(self, *command: Any) -> Any:
        with self.client() as client:
            return client.execute_command(*command)

    def start(self) -> None:
        command = [program("redis-server"), "--port", str(self.port), "--bind", self.host, "--dir", str(self.directory)]
        command += ["--save", "", "--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes", *self.options]
        self.launch(command)
        wait_until(self.up)

    def launch(self, command: Sequence[str]) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def up(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"redis-server does not start: {(self.directory / 'log').read_text()}")
        with self.client() as client:
            return bool(client.ping())

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """Let it hang: connections are taken by the kernel, and nobody answers."""
        self.signal(signal.SIGSTOP)

    def cont(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @contextmanager
    def running(self) -> Iterator[Node]:
        try:
            self.start()
            yield self
        finally:
            self.kill()


class SentinelNode(Node):
    """A Sentinel that watches a primary."""

    def __init__(self, directory: Path, primary: Node) -> None:
        super().__init__(directory, name="sentinel")
        (self.directory / "sentinel.conf").write_text(
            f"port {self.port}\nbind {self.host}\ndir {self.directory}\n"
            f"sentinel monitor {SERVICE} {primary.host} {primary.port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {NODE_TIMEOUT_MS}\n"
            f"sentinel failover-timeout {SERVICE} {3 * NODE_TIMEOUT_MS}\n"
        )

    def start(self) -> None:
        self.launch([program("redis-server"), str(self.directory / "sentinel.conf"), "--sentinel"])
        wait_until(self.up)


class SentinelSet:
    """A primary, two replicas and three Sentinels."""

    def __init__(self, directory: Path) -> None:
        self.nodes = [Node(directory) for _ in range(3)]
        for replica in self.nodes[1:]:
            replica.options = ("--replicaof", *self.nodes[0].address.split(":"))
        self.sentinels = [SentinelNode(directory, self.nodes[0]) for _ in range(3)]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(sentinel.address for sentinel in self.sentinels)}/{SERVICE}"

    @property
    def primary(self) -> Node:
        """The node that a majority of the Sentinels names."""
        named = [self._named(sentinel) for sentinel in self.sentinels]
        port = max(named, key=named.count)
        return next(node for node in self.nodes if node.port == port)

    def _named(self, sentinel: Node) -> int:
        return int(sentinel.call("SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE)[1])

    def ready(self) -> bool:
        """Whether every Sentinel knows the two others and the two replicas, and these are in step."""
        with self.primary.client() as client:
            replication = client.info("replication")
        in_step = [replication.get(f"slave{number}", {}).get("state") == "online" for number in range(2)]
        masters = [dict(sentinel.client().sentinel_master(SERVICE)) for sentinel in self.sentinels]
        return all(in_step) and all(
            master["num-slaves"] == 2 and master["num-other-sentinels"] == 2 for master in masters
        )

    @contextmanager
    def running(self) -> Iterator[SentinelSet]:
        with ExitStack() as stack:
            for node in [*self.nodes, *self.sentinels]:
                stack.enter_context(node.running())
            wait_until(self.ready)
            yield self


class Cluster:
    """Three primaries with a replica each."""

    def __init__(self, directory: Path) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS))
        self.nodes = [Node(directory, *options, "--cluster-port", str(free_port())) for _ in range(6)]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(node.address for node in self.nodes[:3])}"

    @contextmanager
    def running(self) -> Iterator[Cluster]:
        with ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node.running())
            command = [program("redis-cli"), "--cluster", "create", *(node.address for node in self.nodes)]
            subprocess.run([*command, "--cluster-replicas", "1", "--cluster-yes"], check=True, capture_output=True)
            wait_until(self.whole)
            yield self

    def whole(self) -> bool:
        """Whether every living node sees every slot served, and each primary has its replica in step."""
        for node in self.living():
            with node.client() as client:
                if client.cluster("INFO")["cluster_state"] != "ok":
                    return False
                replication = client.info("replication")
                if replication["role"] == "slave" and replication["master_link_status"] != "up":
                    return False
        return len(self.primaries()) == 3

    def served(self) -> bool:
        """Whether every slot is served."""
        living = self.living()
        return all(node.client().cluster("INFO")["cluster_state"] == "ok" for node in living)

    def replaced(self, lost: Node) -> bool:
        """Whether another serves what a primary did that is lost."""
        others = [node for node in self.nodes if node is not lost]
        served = all(node.client().cluster("INFO")["cluster_state"] == "ok" for node in others)
        return served and sum(node.client().info("replication")["role"] == "master" for node in others) == 3

    def living(self) -> list[Node]:
        return [node for node in self.nodes if node.process is not None and node.process.poll() is None]

    def primaries(self) -> list[Node]:
        return [node for node in self.living() if node.client().info("replication")["role"] == "master"]

    def owner(self, name: str) -> Node:
        """The primary that serves a key."""
        slot = self.living()[0].call("CLUSTER KEYSLOT", name)
        for start, end, (_, port, *_), *_ in self.living()[0].call("CLUSTER SLOTS"):
            if start <= slot <= end:
                return next(node for node in self.nodes if node.port == port)
        pytest.fail(f"nobody serves slot {slot}")

    def replica(self, primary: Node) -> Node:
        replications = {node: node.client().info("replication") for node in self.nodes if node is not primary}
        return next(node for node, found in replications.items() if found.get("master_port") == primary.port)

    def flush(self) -> None:
        for node in self.primaries():
            node.call("FLUSHALL")

    def revive(self) -> None:
        """Have every node run, and all of them agree again."""
        for node in self.nodes:
            if node in self.living():
                node.cont()
            else:
                node.start()
        wait_until(self.whole)

    @contextmanager
    def moving(self, name: str) -> Iterator[tuple[Node, Node]]:
        """Have the slot of a key on its way (ASK) from a node to another, which has it after the block (MOVED)."""
        primaries = self.primaries()
        source = self.owner(name)
        target = next(node for node in primaries if node is not source)
        slot = source.call("CLUSTER KEYSLOT", name)
        target.call("CLUSTER SETSLOT", slot, "IMPORTING", source.call("CLUSTER MYID"))
        source.call("CLUSTER SETSLOT", slot, "MIGRATING", target.call("CLUSTER MYID"))
        yield source, target
        for node in primaries:
            node.call("CLUSTER SETSLOT", slot, "NODE", target.call("CLUSTER MYID"))

    @contextmanager
    def in_part(self, name: str) -> Iterator[Node]:
        """Lose the primary of a key, which is yielded, and its replica, while the others serve what is theirs."""
        for node in self.nodes:
            node.call("CONFIG SET cluster-require-full-coverage no")
        lost = self.owner(name)
        self.replica(lost).kill()  # so that nobody takes over
        lost.stop()
        yield lost
        lost.cont()
        for node in self.living():
            node.call("CONFIG SET cluster-require-full-coverage yes")
