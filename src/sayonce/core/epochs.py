"""Purging by tag in O(1): a tag's epoch goes up, and entries of an earlier epoch are no longer current.

An entry carries the epochs that were known when its computation *began*, so a purge during the computation also
outdates what is stored after it. Epochs are milliseconds since the Unix epoch, or one more than the last, so that they
go on rising where the record of the last one was lost.

A key that is removed is purged like a tag that every entry under it has: what is stored under it carries the epoch of
its last removal, if there was one, so that nothing older counts that comes after, as a write that is late may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sayonce.core.key import DIGEST_BYTES

ALL: Final = "all"
"""The tag that every entry has: no other tag is called so, as they are ``name=value`` or a library user's own."""

_KEY: Final = "key="
_HEX_DIGITS: Final = 2 * DIGEST_BYTES

Stamp = tuple[tuple[str, int], ...]
"""(tag, epoch) pairs."""


def key_tag(key: bytes) -> str:
    """Return the tag of what lies under a key, and of what is derived from it."""
    return f"{_KEY}{key.hex()}"


def key_in(tag: str) -> bytes | None:
    """Return the key that a tag is made of; None for a tag of another kind."""
    if not tag.startswith(_KEY) or len(tag) != len(_KEY) + _HEX_DIGITS:
        return None
    try:
        return bytes.fromhex(tag.removeprefix(_KEY))
    except ValueError:
        return None


def derived(parents: Iterable[tuple[Stamp, bytes]]) -> Stamp:
    """Return the stamp of what is derived from entries, given by stamp and key: it goes where any of them would.

    So it does where the key of one is removed. A tag of several has the epoch of the one that is outdated first.
    """
    lowest: dict[str, int] = {}
    for stamp, key in parents:
        for tag, epoch in ({key_tag(key): 0} | dict(stamp)).items():
            lowest[tag] = min(epoch, lowest.get(tag, epoch))
    return tuple(lowest.items())


class Epochs:
    """The epochs that this process knows; a tag that was never purged has epoch 0."""

    def __init__(self) -> None:
        self._epochs: dict[str, int] = {}
        self._removed: dict[bytes, str] = {}
        """Keys that were removed, and their tags."""

    @property
    def known(self) -> Mapping[str, int]:
        return self._epochs

    @property
    def removed_keys(self) -> int:
        return len(self._removed)

    def stamp(self, tags: Iterable[str], key: bytes = b"") -> Stamp:
        """Return the tags with their epochs; those of all and of the key are left out until they were purged."""
        known = self._epochs
        everything = ((ALL, known[ALL]),) if ALL in known else ()
        removed = ((self._removed[key], known[self._removed[key]]),) if key in self._removed else ()
        return everything + removed + tuple((tag, known.get(tag, 0)) for tag in tags)

    def current(self, stamp: Stamp, key: bytes = b"") -> bool:
        """Whether no tag of the stamp has been purged since, nor the key removed."""
        known = self._epochs
        if not known:
            return True
        if ALL in known and dict(stamp).get(ALL, 0) < known[ALL]:
            return False
        if key in self._removed and dict(stamp).get(self._removed[key], 0) < known[self._removed[key]]:
            return False
        return all(epoch >= known.get(tag, 0) for tag, epoch in stamp)

    def next(self, now: float) -> int:
        """Return the epoch that a purge begins now: above all that are known, so that a later purge has a higher one."""
        return max(max(self._epochs.values(), default=0) + 1, int(now * 1000))

    def learn(self, epochs: Mapping[str, int]) -> list[str]:
        """Take over epochs, and return the tags that rose; an epoch never goes back."""
        risen = [tag for tag, epoch in epochs.items() if epoch > self._epochs.get(tag, 0)]
        for tag in risen:
            self._epochs[tag] = epochs[tag]
            key = key_in(tag)
            if key is not None:
                self._removed[key] = tag
        return risen

    def surplus(self, most: int, before: float) -> set[str]:
        """Return the tags of keys that were removed before a moment, and before as many others."""
        if len(self._removed) <= most:
            return set()
        newest_first = sorted(self._removed.values(), key=lambda tag: (-self._epochs[tag], tag))
        return {tag for tag in newest_first[most:] if self._epochs[tag] < before * 1000}

    def forget(self, tags: Iterable[str]) -> None:
        """Forget tags: only once everything that could carry them is gone, or outdated by the tag of all."""
        for tag in tags:
            self._epochs.pop(tag, None)
            self._removed.pop(key_in(tag) or b"", None)
