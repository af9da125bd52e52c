"""A request with its keys."""

from __future__ import annotations

import msgspec

from sayonce.core.envelope import Entry
from sayonce.core.key import Digest
from sayonce.speech import identity
from sayonce.speech.request import SpeechRequest


def plays_on(entry: Entry) -> bool:
    """Whether a clip may be played past its time to live: not one that nobody can hear, or that is kept nowhere."""
    return not (entry.about.get("silent") or entry.about.get("transient"))


class Plan(msgspec.Struct, frozen=True):
    """A request with its identity: the key of its take, and of the clip in the format asked for."""

    request: SpeechRequest
    tenant: str
    take_key: Digest
    clip_key: Digest

    @property
    def flight_key(self) -> Digest:
        """The key of the computation that derives the clip from its take, also where the take is the clip."""
        if self.clip_key is not self.take_key:
            return self.clip_key
        return identity.derivative(self.take_key, self.request.format)

    @property
    def tags(self) -> tuple[str, ...]:
        """The names under which the take and its clips can be purged."""
        return identity.tags(self.request, self.tenant)

    def fits(self, entry: Entry) -> bool:
        """Whether an entry under the clip's key is in the format asked for: a server may have given another."""
        return self.clip_key is not self.take_key or entry.media_type == self.request.format.media_type
