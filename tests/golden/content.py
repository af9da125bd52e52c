"""What lies in a golden store: the settings that it was written with, and all that was asked and kept."""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import numpy as np

from sayonce.audio.decode import mpeg
from sayonce.core import envelope
from sayonce.core.key import Secret
from sayonce.speech import identity
from sayonce.speech.synthesis import Synthesizer
from sayonce.stores.redis.names import LAYOUT
from sayonce.stores.sqlite.connection import SCHEMA_VERSION
from tests.helpers.paths import TESTS
from tests.helpers.upstream import wav

FOLDER = TESTS / "golden" / "stores"
"""A folder for each release; those of releases that are out are never written again."""
STORES = ("sqlite", "redis")
MOMENT = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()
"""When the stores were written, and are read: entries last for a day, and bodies are swept by the hour."""
DAY = "2026-11-29"
SECRET = Secret(b"the secret of the golden stores")
NAMESPACE = "golden"
KEYS = {"acme": "so-golden-acme", "globex": "so-golden-globex", "operator": "so-golden-operator"}
"""The API key of each tenant; the operator's has the right ``admin``."""
DEPLOYMENTS: dict[str, dict[str, Any]] = {
    "flac": {},
    "opus": {"audio.take": "opus"},
    "as-is": {"audio.take": "as-is", "engines.far.response_format": "mp3"},
}
"""What gateways over one store differ in: the form in which they keep takes."""


def settings(deployment: str, folder: str, keys: str, base_url: str) -> dict[str, Any]:
    """Return the settings of a gateway, by dotted name; ``folder`` has the bodies, ``keys`` is the file of API keys."""
    return {
        "store.namespace": NAMESPACE,
        "store.budget_ms": 2000,
        "bodies.url": f"file://{folder}/bodies",
        "bodies.inline_max_bytes": 4000,
        "bodies.budget_ms": 2000,
        "trace.file": f"{folder}/trace",
        "security.key_secret": "the secret of the golden stores",
        "security.api_keys_file": keys,
        "engines.far.kind": "openai",
        "engines.far.base_url": base_url,
        "engines.far.keyed_as": "http://speech.example/v1",
        "engines.far.model": "speech-1",
        "engines.far.revision": "golden",
        "engines.far.voices": ["anna", "ben", "cleo"],
        "engines.far.upstream_voices": "never",
        "engines.far.concurrency": 1,
        **DEPLOYMENTS[deployment],
    }


def keys_file() -> str:
    lines = [f"{tenant}:{sha256(key.encode()).hexdigest()}" for tenant, key in KEYS.items()]
    return "\n".join(line + ":admin" if line.startswith("operator:") else line for line in lines)


def versions() -> dict[str, int]:
    """Return the versions on which it hangs whether a store is found again, as this release has them."""
    return {
        "sqlite": SCHEMA_VERSION,
        "redis": LAYOUT,
        "envelope": envelope.VERSION,
        "pointer": envelope.OUTSIDE,
        "document": identity.SCHEMA,
        "derivation": identity.DERIVATION,
        "decoding": mpeg.DECODER_VERSION,
    }


# -- speech ---------------------------------------------------------------------------------------------------------

GREETING = {"input": "Good morning, how can I help you?", "voice": "anna"}
LONG = {"input": "This one is so long that it lies outside of the store.", "voice": "anna", "speed": 0.75}
CHINESE = {"input": "您好，请问有什么可以帮您？", "voice": "ben", "speed": 1.25, "style": "warm", "steps": 4}
SPOKEN_AS = {"input": "Read this slowly.", "voice": "ben", "instructions": "slowly"}
IN_ADAS_VOICE = {"input": "This is Ada speaking.", "voice": "Ada"}

Asked = tuple[str, str, dict[str, Any]]
"""A deployment, a tenant, and the fields of its request."""
ASKED: list[Asked] = [
    *[("flac", "acme", GREETING | {"response_format": name}) for name in ("flac", "mp3", "opus", "aac", "mulaw")],
    ("flac", "acme", GREETING | {"response_format": "wav"}),
    ("flac", "acme", GREETING | {"response_format": "pcm", "sample_rate": 16_000}),
    ("flac", "globex", GREETING | {"response_format": "flac"}),
    ("flac", "acme", LONG | {"response_format": "flac"}),
    ("flac", "acme", LONG | {"response_format": "wav"}),
    ("flac", "acme", CHINESE | {"response_format": "flac"}),
    ("flac", "acme", CHINESE | {"response_format": "mp3"}),
    ("flac", "acme", SPOKEN_AS | {"response_format": "opus"}),
    ("flac", "acme", IN_ADAS_VOICE | {"response_format": "flac"}),
    ("flac", "acme", IN_ADAS_VOICE | {"voice": "Ada again", "response_format": "flac"}),
    ("opus", "acme", GREETING | {"response_format": "opus"}),
    ("as-is", "acme", GREETING | {"response_format": "mp3"}),
]
"""All that the golden store answers. Nothing is resampled for it now: another version of a library may give other samples."""
DERIVED = ("mp3", "opus", "aac", "mulaw")
"""Formats that a new number of the derivation has made anew."""

PURGED_ALL = {"input": "Before everything was purged.", "voice": "anna", "response_format": "flac"}
PURGED_TAG = {"input": "In the voice that was purged.", "voice": "cleo", "response_format": "flac"}
REMOVED = {"input": "This very clip was removed.", "voice": "anna", "response_format": "flac"}
OUTDATED = [PURGED_ALL, PURGED_TAG, REMOVED]
"""Requests of acme's with takes that lie in the store and must not be heard any more."""
AFTER_PURGE = {"input": "Made since the voice was purged.", "voice": "cleo", "response_format": "flac"}
ASKED.append(("flac", "acme", AFTER_PURGE))

REFERENCE_TEXT = "What Ada says in the reference."
REMOVED_VOICE = "Bob"
COPY_SERVER = "http://voices.example/v1"
"""A server that is told to keep a copy of acme's voice."""
GLOBEX_VOICE = "Ada"
"""The name of another tenant's voice, of another reference."""


def sound(said: dict[str, Any]) -> bytes:
    """Return what the engine speaks: a quiet hum of a seventh of a second, or a longer noise; another for each text and voice."""
    seed = int.from_bytes(sha256(repr((said["input"], said["voice"], said.get("speed"))).encode()).digest()[:4])
    long = said["input"] == LONG["input"]
    count = 5600 if long else 2400
    noise = np.random.default_rng(seed).integers(-90, 90, count) if long else 0
    hum = 400 * np.sin(2 * np.pi * (150 + seed % 400) / 16_000 * np.arange(count)) + noise
    return hum.round().astype("<i2").tobytes()


def reference(pitch_hz: int) -> bytes:
    """Return a file of reference audio: a hum of a quarter of a second."""
    hum = 3000 * np.sin(2 * np.pi * pitch_hz / 8000 * np.arange(2000))
    return wav(hum.round().astype("<i2").tobytes(), 8000)


def copy_of(synthesizer: Synthesizer) -> tuple[str, str]:
    """Return the address of the copy of acme's voice: its server and its name there."""
    [address] = {voice.address for voice in synthesizer.voices.of("acme")}
    return COPY_SERVER, synthesizer.voices.copies.name("acme", address, REFERENCE_TEXT)


# -- features --------------------------------------------------------------------------------------------------------


@dataclass
class Conditioning:
    style: np.ndarray
    lengths: tuple[int, ...]
    note: str


def embedding(audio: bytes) -> np.ndarray:
    return np.linspace(-1, 1, 192, dtype="f4").reshape(1, 192) * len(audio)


def conditioning(prompt: str, depth: int = 2) -> Conditioning:
    return Conditioning(np.arange(400, dtype="i2").reshape(depth, -1), (1, 2, 3), prompt)


def bundle(text: str) -> dict[str, Any]:
    arrays = [np.arange(6, dtype="f8").reshape(2, 3), np.array([True, False])]
    return {"text": text, "arrays": arrays, "code": b"\x00\x01", "rate": 0.5, "none": None, "pair": (1, np.float32(2))}


def halves(text: str) -> np.ndarray:
    return np.full((4, 8), len(text), "f4")


def tokens(texts: list[str]) -> list[bytes]:
    return [text[::-1].encode() for text in texts]


FEATURES: list[tuple[Any, dict[str, Any], tuple[Any, ...]]] = [
    (embedding, {"audio": ("audio",)}, (reference(220),)),
    (conditioning, {"tags": ("project=golden",)}, ("a prompt",)),
    (bundle, {"returns": dict}, ("a text",)),
    (halves, {"storage": "float16"}, ("four",)),
    (tokens, {"batch": True}, (["one", "zwei", "三"],)),
]
"""Functions, how they are remembered, and the arguments of the call that is kept."""
FORGOTTEN = ("purged prompt", {"tags": ("project=former",)})
"""The argument, and the options, of a remembered call with a tag that was purged since."""
DOCUMENT = {"any": ["document", 1, 2.5, None], "of": "a library's user"}
VALUE = b"any value"
