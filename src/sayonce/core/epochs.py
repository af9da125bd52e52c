"""Purging by tag in O(1): a tag's epoch goes up, and entries of an earlier epoch are no longer current.

An entry carries the epochs that were known when its computation *began*, so a purge during the computation also
outdates what is stored after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Stamp = tuple[tuple[str, int], ...]
"""(tag, epoch) pairs."""


class Epochs:
    """The epochs that this process knows; a tag that was never purged has epoch 0."""

    def __init__(self) -> None:
        self._epochs: dict[str, int] = {}

    def stamp(self, tags: Iterable[str]) -> Stamp:
        return tuple((tag, self._epochs.get(tag, 0)) for tag in tags)

    def current(self, stamp: Stamp) -> bool:
        """Whether no tag of the stamp has been purged since."""
        if not self._epochs:
            return True
        known = self._epochs
        return all(epoch >= known.get(tag, 0) for tag, epoch in stamp)

    def learn(self, epochs: Mapping[str, int]) -> list[str]:
        """Take over epochs read from a store, and return the tags whose epoch rose; an epoch never goes back."""
        risen = [tag for tag, epoch in epochs.items() if epoch > self._epochs.get(tag, 0)]
        for tag in risen:
            self._epochs[tag] = epochs[tag]
        return risen
