"""The plans of requests: the same body from the same tenant is planned once; `speech` answers by a plan."""

from __future__ import annotations

import math
from typing import Any, Final

from sayonce.errors import NotFound, VoicesUnavailable
from sayonce.gateway.headers import KnownPlan
from sayonce.speech.plan import Plan
from sayonce.speech.request import parse_json
from sayonce.speech.synthesis import Synthesizer

MAX_PLANS: Final = 4096
_MAX_BODY_BYTES: Final = 2048
"""Of a body that is remembered."""


class Plans:
    """Plans requests, and remembers the plans of short bodies until the name of a voice changes."""

    def __init__(self, synthesizer: Synthesizer) -> None:
        self._synthesizer = synthesizer
        self._known: dict[tuple[str, int, bytes], KnownPlan] = {}

    def __len__(self) -> int:
        return len(self._known)

    def known(self, body: bytes, tenant: str) -> KnownPlan | None:
        """Return the plan of a request's body where it was planned before."""
        return self._known.get((tenant, self._synthesizer.voices.version, body))

    async def of(self, body: bytes, tenant: str) -> KnownPlan:
        """Return the plan of a request's body."""
        version = self._synthesizer.voices.version
        # Below 0 the names of voices are not known for sure: one may mean another voice at the next request.
        if len(body) > _MAX_BODY_BYTES or version < 0:
            return KnownPlan(await self.make(body, tenant))
        asked = (tenant, version, body)
        known = self._known.get(asked)
        if known is None:
            known = KnownPlan(await self.make(body, tenant))
            if len(self._known) >= MAX_PLANS:
                self._known.clear()
            self._known[asked] = known
        return known

    async def make(self, body: bytes, tenant: str) -> Plan:
        """Plan a request; a voice that is not known is looked for among those uploaded elsewhere."""
        asked, fields = self._synthesizer.cache.view.now(), parse_json(body)
        try:
            return await self._synthesizer.plan_fields(fields, tenant, asked)
        except (NotFound, VoicesUnavailable) as error:
            if error.param != "voice" or not self._synthesizer.catalogue.clones:
                raise
        return await self._with_newest_voices(fields, tenant, asked)

    async def with_newest_voices(self, body: bytes, tenant: str) -> KnownPlan:
        """Plan a request after a look for voices that were uploaded at other instances."""
        return KnownPlan(await self._with_newest_voices(parse_json(body), tenant))

    async def _with_newest_voices(self, fields: dict[str, Any], tenant: str, asked: float = math.inf) -> Plan:
        await self._synthesizer.learn_voices()
        return await self._synthesizer.plan_fields(fields, tenant, asked)
