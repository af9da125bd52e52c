"""The purges that this instance knows, without any I/O: epochs of tags, removed keys, and what the store lacks of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import msgspec

from sayonce.core.clock import Clock
from sayonce.core.epochs import ALL, Epochs, Stamp, key_in
from sayonce.core.purges import check_tags

MEMORIES: Final = "memories"
"""This tag's epoch rises when instances are to empty their memory; no entry carries it."""
MAX_PURGED_TAGS: Final = 1000
"""Beyond so many, a purge outdates everything, and the records of single tags go."""
MAX_REMOVED_KEYS: Final = 2000
"""Beyond so many, the records of the oldest go; or everything is outdated, where they are not old enough yet."""
_LATE_SECONDS: Final = 3600.0
"""A write that was sent before a key was removed has arrived by then, or never: TCP gives up in a quarter of an hour."""


class Unwritten(msgspec.Struct):
    """Purges that are not in the store yet: epochs of tags, and keys."""

    epochs: dict[str, int] = {}
    keys: set[bytes] = set()

    def __bool__(self) -> bool:
        return bool(self.epochs or self.keys)


class KnownPurges:
    """The purges that this instance knows, and the callbacks of the parts that have to hear of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.epochs = Epochs()
        self.current = self.epochs.current
        """Whether nothing of a stamp was purged since, nor the key removed under which it is stored."""
        self.unwritten = Unwritten()
        self.lost: dict[str, int] = {}
        """Epochs that the store does not have any more, or that another worker has not written yet."""
        self.watched: dict[str, Callable[[], Awaitable[None]]] = {}
        self.owed: set[str] = set()
        """Watched tags that rose, until their callback has succeeded."""
        self._removing: Counter[bytes] = Counter()
        self._on_purge: list[Callable[[], None]] = []

    def stamp(self, tags: Iterable[str], key: bytes) -> Stamp:
        """Return the tags of a computation that begins now, with their epochs.

        Raises:
            InvalidRequest: they are too many, or too long.

        """
        return self.epochs.stamp((MEMORIES, *check_tags(tags)), key)

    def removed(self, key: bytes) -> bool:
        """Whether a key was removed while the store could not be told: what it has under it is not to be answered."""
        return key in self.unwritten.keys or key in self._removing

    @contextmanager
    def removing(self, keys: list[bytes]) -> Iterator[None]:
        """Count keys as removed meanwhile: what was asked for before must not come into memory behind the removal."""
        self._removing.update(keys)
        try:
            yield
        finally:
            self._removing.subtract(keys)
            self._removing = +self._removing

    def on_purge(self, forget: Callable[[], None]) -> None:
        """Call back when anything is purged, here or elsewhere."""
        self._on_purge.append(forget)

    def tell_purged(self) -> None:
        """Call back those that have to forget what they derived from entries."""
        for forget in self._on_purge:
            forget()

    # -- learning ---------------------------------------------------------------------------------------------------

    def learn(self, epochs: Mapping[str, int]) -> None:
        """Obey the epochs that another instance has told."""
        risen = set(self.epochs.learn(epochs))
        if ALL in risen:
            self.forget_tags()
        self.owed |= risen & self.watched.keys()
        if risen - self.watched.keys():
            self.tell_purged()

    def learn_unwritten(self, told: Unwritten) -> None:
        """Obey what another worker of this server could not write into the store."""
        self.learn(told.epochs)
        self.lost |= {tag: epoch for tag, epoch in told.epochs.items() if epoch == self.epochs.known.get(tag)}
        self.unwritten.keys |= told.keys

    def look_for_lost(self, stored: Mapping[str, int]) -> None:
        """Find what the table lacks: at each reading, as it may lose again what was just put back."""
        missing = {tag: epoch for tag, epoch in self.epochs.known.items() if epoch > stored.get(tag, 0)}
        if missing:
            needless = self.needless(missing)
            self.epochs.forget(needless - stored.keys())
            kept_out = needless | self.unwritten.epochs.keys()  # which are being written
            self.lost |= {tag: epoch for tag, epoch in missing.items() if tag not in kept_out}

    # -- purging ----------------------------------------------------------------------------------------------------

    def rise(self, tags: Iterable[str]) -> None:
        """Outdate tags at this instance, and note that the store is to be told."""
        epochs = {tag: self.epochs.next(self._clock()) for tag in tags}
        self.epochs.learn(epochs)
        if ALL in epochs:
            self.forget_tags()
        if not self.watched.keys() >= epochs.keys():
            self.tell_purged()
        self.unwritten.epochs |= epochs

    def bounded(self, tags: list[str]) -> list[str]:
        """Return what is to be purged: everything, where it would be too much to know one by one."""
        known = self.epochs.known
        new_keys = self.new_keys(tags)
        new_tags = sum(tag not in known for tag in tags) - new_keys
        keys = self.epochs.removed_keys + new_keys
        many_tags = len(known) - self.epochs.removed_keys + new_tags > MAX_PURGED_TAGS
        many_keys = keys - len(self.surplus(new_keys)) > MAX_REMOVED_KEYS
        if ALL in tags or not (many_tags or many_keys):
            return tags
        return [*[tag for tag in tags if tag in self.watched], ALL]

    def new_keys(self, tags: Iterable[str]) -> int:
        """Return how many of the tags are those of keys that are not known to be removed."""
        return sum(key_in(tag) is not None for tag in tags if tag not in self.epochs.known)

    # -- forgetting -------------------------------------------------------------------------------------------------

    def needless(self, epochs: Mapping[str, int]) -> set[str]:
        """Return the tags that outdate nothing but what a later purge of everything does, or what is gone."""
        everything = self.epochs.known.get(ALL, 0)
        outdated = {tag for tag, epoch in epochs.items() if epoch < everything}
        return (outdated - {ALL, *self.watched}) | (self.surplus() & epochs.keys())

    def surplus(self, new_keys: int = 0) -> set[str]:
        """Return the tags of keys that may be forgotten, when so many new ones come."""
        return self.epochs.surplus(MAX_REMOVED_KEYS - new_keys, self._clock() - _LATE_SECONDS)

    def forget_tags(self) -> None:
        """Forget single tags, but for those that were purged later than everything."""
        self.epochs.forget(self.needless(self.epochs.known))
