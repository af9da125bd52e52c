"""Purging by tag in O(1): a tag's epoch goes up, and entries of an earlier epoch are no longer current.

An entry carries the epochs that were known when its computation *began*, so a purge during the computation also
outdates what is stored after it. Epochs are milliseconds since the Unix epoch, or one more than the last, so that they
go on rising where the record of the last one was lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

ALL: Final = "all"
"""The tag that every entry has: no other tag is called so, as they are ``name=value`` or a library user's own."""

Stamp = tuple[tuple[str, int], ...]
"""(tag, epoch) pairs."""


class Epochs:
    """The epochs that this process knows; a tag that was never purged has epoch 0."""

    def __init__(self) -> None:
        self._epochs: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._epochs)

    @property
    def known(self) -> Mapping[str, int]:
        return self._epochs

    def stamp(self, tags: Iterable[str]) -> Stamp:
        """Return the tags with their epochs; the tag of all is left out until it was purged."""
        known = self._epochs
        everything = ((ALL, known[ALL]),) if ALL in known else ()
        return everything + tuple((tag, known.get(tag, 0)) for tag in tags)

    def current(self, stamp: Stamp) -> bool:
        """Whether no tag of the stamp has been purged since."""
        known = self._epochs
        if not known:
            return True
        if ALL in known and dict(stamp).get(ALL, 0) < known[ALL]:
            return False
        return all(epoch >= known.get(tag, 0) for tag, epoch in stamp)

    def next(self, now: float) -> int:
        """Return the epoch that a purge begins now: above all that are known, so that a later purge has a higher one."""
        return max(max(self._epochs.values(), default=0) + 1, int(now * 1000))

    def learn(self, epochs: Mapping[str, int]) -> list[str]:
        """Take over epochs, and return the tags whose epoch rose; an epoch never goes back."""
        risen = [tag for tag, epoch in epochs.items() if epoch > self._epochs.get(tag, 0)]
        for tag in risen:
            self._epochs[tag] = epochs[tag]
        return risen

    def forget(self, tags: Iterable[str]) -> None:
        """Forget tags: only once everything that could carry them is outdated by the tag of all."""
        for tag in tags:
            self._epochs.pop(tag, None)
