"""The answers of all routes but speech, as types; the description of the API is made from them."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from sayonce.cache import Obeyed
from sayonce.core.key import DIGEST_BYTES
from sayonce.gateway.figures import Overview, ShownState, Stats
from sayonce.observe.ledger_export import LedgerLine
from sayonce.speech.engines import State
from sayonce.speech.explain import Difference

HEX_PATTERN: Final = f"^[0-9a-fA-F]{{{2 * DIGEST_BYTES}}}$"
Hex = Annotated[str, Meta(pattern=HEX_PATTERN)]
Status = Literal["ready", "loading", "failed"]
Weakness = Annotated[
    str,
    Meta(
        description="What makes the reference audio a poor voice: it is silent, or very short; or that no engine here speaks"
        " in the voice of a reference."
    ),
]


class Model(msgspec.Struct, kw_only=True, tag_field="object", tag="model"):
    """A name that `model` may have."""

    id: str
    created: int
    owned_by: Annotated[str, Meta(description="The kind of the engine.")]


class Models(msgspec.Struct, kw_only=True, tag_field="object", tag="list"):
    """OpenAI's list of models."""

    data: list[Model]


class Named(msgspec.Struct, kw_only=True):
    """A choice in a list, as clients such as Open WebUI read it."""

    id: str
    name: str


class AudioModels(msgspec.Struct, kw_only=True, tag_field="object", tag="list"):
    """The same models as of `/v1/models`: all of them speak."""

    data: list[Model]
    models: list[Named]


class Voice(msgspec.Struct, kw_only=True, tag_field="object", tag="voice"):
    """An engine's voice has a `model`; an uploaded one has `ref_text`, `seconds` and `created`; a name of OpenAI's has \
`means`.
    """

    id: str
    name: str
    model: str | UnsetType = UNSET
    language: Annotated[str | None, Meta(description="A BCP 47 tag.")] | UnsetType = UNSET
    means: Annotated[str, Meta(description="The voice of the engine that the name stands for.")] | UnsetType = UNSET
    ref_text: str | UnsetType = UNSET
    seconds: float | UnsetType = UNSET
    created: int | UnsetType = UNSET
    warning: Weakness | UnsetType = UNSET


class Voices(msgspec.Struct, kw_only=True, tag_field="object", tag="list"):
    """The uploaded voices, then each engine's own and OpenAI's names for them; `voices` has each id once."""

    data: list[Voice]
    voices: list[Named]


Obeying = Annotated[
    str,
    Meta(
        description="The instances that obey the change: `every instance` that reaches the store; `within 1 s` the same, with"
        " `wait=false` (202); `this instance`, while the store is away (202).",
        examples=[each.value for each in Obeyed],
    ),
]


class UploadedVoice(msgspec.Struct, kw_only=True, tag_field="object", tag="voice"):
    """A voice that was uploaded."""

    id: Annotated[Hex, Meta(description="Of the reference's samples.")]
    name: str
    ref_text: str
    seconds: float
    created: int
    obeyed: Obeying
    warning: Weakness | UnsetType = UNSET


class DeletedVoice(msgspec.Struct, kw_only=True, tag_field="object", tag="voice"):
    """A voice that is no more."""

    name: str
    deleted: bool
    obeyed: Obeying


class Live(msgspec.Struct, tag_field="status", tag="live"):
    """The process answers."""


class Offline(msgspec.Struct, kw_only=True):
    """How long the store has been away, and how much longer known clips are hits."""

    seconds: float
    hits_end_in_seconds: float


class Ready(msgspec.Struct, kw_only=True):
    """The state of each engine and of the store."""

    status: Status
    engines: dict[str, State]
    store: ShownState
    offline: Offline | UnsetType = UNSET


class Ledger(msgspec.Struct, kw_only=True):
    """The requests and savings of each account in the days `from` to `to`."""

    first: Annotated[date, Meta(description="The first day.")] = msgspec.field(name="from")
    last: Annotated[date, Meta(description="The last day.")] = msgspec.field(name="to")
    lines: list[LedgerLine]


class Stored(msgspec.Struct, kw_only=True):
    """Where a take and its clip are kept; null where they are not."""

    take: str | None
    clip: str | None


class Manifest(msgspec.Struct, kw_only=True):
    """A request's keys, and the document that they are made from."""

    key: Hex
    clip_key: Hex
    format: str
    sample_rate: Annotated[int | None, Meta(description="Null where the format has the rate of the take.")]
    ignored: Annotated[str, Meta(description="What was left out, as in `X-Sayonce-Ignored`; mostly nothing.")]
    document: dict[str, Any]
    stored: Stored
    differences: Annotated[list[Difference], Meta(description="To `other`.")] | UnsetType = UNSET
    nearest: (
        Annotated[list[Difference] | None, Meta(description="To the nearest recent request, where there is one.")]
        | UnsetType
    ) = UNSET


class Purged(msgspec.Struct, kw_only=True):
    """The instances that obey a purge, and the number of removed entries where it is known."""

    obeyed: Obeying
    removed: int | UnsetType = UNSET


class Told(msgspec.Struct, kw_only=True):
    """An error in OpenAI's form."""

    message: str
    type: str
    param: Annotated[str | None, Meta(description="What to change.")]
    code: str | None


class Error(msgspec.Struct, kw_only=True):
    """Every answer that is no success."""

    error: Told


ALL: Final = (
    Model, Models, AudioModels, Voices, UploadedVoice, DeletedVoice, Live, Ready, Stats, Ledger, Overview, Manifest, Purged, Error,
)  # fmt: skip


def schemas(ref_template: str) -> dict[str, Any]:
    """Return the JSON schema of each answer and of its parts, by name."""
    return msgspec.json.schema_components(ALL, ref_template=ref_template)[1]
