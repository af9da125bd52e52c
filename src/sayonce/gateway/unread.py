"""The memory of answers that clients have not read yet."""

from __future__ import annotations

from sayonce.gateway.connection import Connection


class Unread:
    """The memory of answers for clients that read more slowly than the server sends, counted as it changes.

    Each connection has its unsent bytes to itself; a body or a flight that several clients read is counted once.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._own: dict[Connection, tuple[int, int]] = {}
        """Each connection's unsent bytes, and the identity of the object that its client reads."""
        self._shared: dict[int, tuple[int, int]] = {}
        """The number of readers of an object, and its bytes, by its identity."""

    def __len__(self) -> int:
        return len(self._own)

    def note(self, connection: Connection) -> None:
        """Count the memory that a connection holds now."""
        self.forget(connection)
        unsent, held = connection.transport.get_write_buffer_size(), connection.held
        self._own[connection] = unsent, id(held.of)
        self.bytes += unsent
        if held.count is not None:
            readers, size = self._shared.get(id(held.of), (0, 0))
            self._shared[id(held.of)] = readers + 1, held.count()
            self.bytes += self._shared[id(held.of)][1] - size

    def forget(self, connection: Connection) -> None:
        unsent, of = self._own.pop(connection, (0, 0))
        self.bytes -= unsent
        readers, size = self._shared.pop(of, (0, 0))
        if readers > 1:
            self._shared[of] = readers - 1, size
        else:
            self.bytes -= size

    def recount(self) -> None:
        """Count all connections anew: their clients have read, and flights have grown."""
        connections = list(self._own)
        self._own.clear()
        self._shared.clear()
        self.bytes = 0
        for connection in connections:
            self.note(connection)

    def slowest(self) -> Connection | None:
        """Return the connection that has gone longest without being read."""
        return min(self._own, key=lambda each: each.read_at, default=None)
