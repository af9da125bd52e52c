"""Envelopes: what was sealed for a key opens under that key, unchanged, or not at all."""

from __future__ import annotations

import json
import pickle
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayonce.core.envelope import ADDRESS_BYTES, HEAD_BYTES, OVERHEAD_BYTES, Entry, Pointer, Refused, Sealer, address_in
from sayonce.core.key import Secret
from sayonce.core.outcome import Refusal
from tests.helpers.paths import TESTS

GOLDEN = json.loads((TESTS / "golden" / "envelopes.json").read_text())
SEALER = Sealer(Secret(b"secret"))
ENTRY = Entry(
    key=bytes(range(32)),
    body=b"some sound",
    media_type="audio/flac",
    created=1_700_000_000.25,
    expires=1_700_086_400.0,
    compute_seconds=1.5,
    tags=(("voice=alice", 2), ("模型=甲", 0)),
    about={"sample_rate_hz": 24000, "engine": "hibari"},
)
SEALED = SEALER.seal(ENTRY)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.floats(allow_nan=False)
entries = st.builds(
    Entry,
    key=st.binary(min_size=32, max_size=32),
    body=st.binary(max_size=2000),
    media_type=texts,
    created=numbers,
    expires=numbers,
    compute_seconds=numbers,
    tags=st.lists(st.tuples(texts, st.integers(0, 2**60)), max_size=3).map(tuple),
    about=st.dictionaries(texts, st.one_of(texts, numbers, st.booleans(), st.none()), max_size=3),
)


def refusal(sealed: bytes, key: bytes = ENTRY.key, sealer: Sealer = SEALER) -> Refusal:
    with pytest.raises(Refused) as refused:
        sealer.open(key, sealed)
    return refused.value.reason


@given(entries)
def test_a_sealed_entry_opens_equal(entry: Entry) -> None:
    assert SEALER.open(entry.key, SEALER.seal(entry)) == entry


@given(st.integers(0, len(SEALED) * 8 - 1))
def test_no_flipped_bit_of_an_envelope_goes_unnoticed(bit: int) -> None:
    changed = bytearray(SEALED)
    changed[bit // 8] ^= 1 << bit % 8
    place = bit // 8
    expected = Refusal.FOREIGN if place < 3 else Refusal.VERSION if place == 3 else Refusal.SEAL
    assert refusal(bytes(changed)) is expected


def test_no_truncation_of_an_envelope_goes_unnoticed() -> None:
    reasons = [refusal(SEALED[:length]) for length in range(len(SEALED))]
    assert reasons == [Refusal.TRUNCATED] * 36 + [Refusal.SEAL] * (len(SEALED) - 36)


@given(st.binary(min_size=1, max_size=40))
def test_no_byte_can_be_put_before_or_behind_an_envelope(more: bytes) -> None:
    assert refusal(SEALED + more) is Refusal.SEAL
    with pytest.raises(Refused):
        SEALER.open(ENTRY.key, more + SEALED)


def test_an_envelope_opens_under_no_other_key() -> None:
    assert refusal(SEALED, key=bytes(32)) is Refusal.SEAL


def test_an_envelope_opens_under_no_other_secret() -> None:
    assert refusal(SEALED, sealer=Sealer(Secret(b"another"))) is Refusal.SEAL
    assert refusal(SEALED, sealer=Sealer(Secret())) is Refusal.SEAL


def test_two_envelopes_of_one_entry_differ_and_both_open() -> None:
    again = SEALER.seal(ENTRY)
    assert again != SEALED
    assert SEALER.open(ENTRY.key, again) == ENTRY


@pytest.mark.parametrize(
    "foreign", [b"fLaC" + bytes(100), b"RIFF" + bytes(100), pickle.dumps(list(range(100))), b"{}" * 40, bytes(100)]
)
def test_bytes_that_are_no_envelope_are_refused(foreign: bytes) -> None:
    assert refusal(foreign) is Refusal.FOREIGN


def sealed_header(header: Any, body: bytes, *, version: int = 1) -> bytes:
    """Seal any header as a bug, or another release, might."""
    return sealed_bytes(msgspec.msgpack.encode(header), body, version)


def sealed_bytes(encoded: bytes, body: bytes, version: int = 1) -> bytes:
    content = b"SYO" + bytes([version]) + len(encoded).to_bytes(4) + encoded + body
    nonce = bytes(12)
    return content + nonce + SEALER._cipher(ENTRY.key).encrypt(nonce, b"", content)


def test_an_envelope_of_another_version_is_refused_though_its_seal_is_good() -> None:
    assert refusal(sealed_header(["a/b", 1.0, 2.0, 0.0, 1], b"x", version=3)) is Refusal.VERSION


@pytest.mark.parametrize("header", [[], {}, None, ["a/b", "x", 2.0, 0.0, 1], ["a/b", 1.0, 2.0, 0.0, 2]])
def test_an_envelope_whose_header_does_not_fit_is_refused_though_its_seal_is_good(header: Any) -> None:
    assert refusal(sealed_header(header, b"x")) is Refusal.HEADER


def test_an_envelope_whose_header_is_nested_without_end_is_refused_though_its_seal_is_good() -> None:
    """Only others can have made it; the decoder's own error would end the connection that it came over."""
    first = msgspec.msgpack.encode(["a/b", 1.0, 2.0, 0.0, 1, []])[1:]
    header = b"\x97" + first + b"\x81\xa1a" + b"\x91" * 200_000 + b"\x01"  # seven fields; the last is {"a": [[[…]]]}
    assert refusal(sealed_bytes(header, b"x")) is Refusal.HEADER


def test_fields_that_a_later_release_adds_to_an_envelopes_header_are_passed_over() -> None:
    opened = SEALER.open(ENTRY.key, sealed_header(["a/b", 1.0, 2.0, 0.5, 1, [], {}, "new", 7], b"x"))
    assert opened == Entry(key=ENTRY.key, body=b"x", media_type="a/b", created=1.0, expires=2.0, compute_seconds=0.5)


def test_fields_of_an_envelope_that_an_earlier_release_did_not_write_have_their_defaults() -> None:
    assert SEALER.open(ENTRY.key, sealed_header(["a/b", 1.0, 2.0, 0.5, 1], b"x")).tags == ()


def test_the_body_of_an_opened_entry_is_a_copy_that_does_not_keep_the_envelope_alive() -> None:
    assert type(SEALER.open(ENTRY.key, SEALED).body) is bytes


def test_a_pointer_names_the_body_outside_and_makes_the_entry_of_it() -> None:
    address = bytes(range(ADDRESS_BYTES))
    sealed = SEALER.seal(ENTRY, address=address)
    pointer = SEALER.unseal(ENTRY.key, sealed)
    assert isinstance(pointer, Pointer)
    assert (pointer.key, pointer.address, pointer.expires) == (ENTRY.key, address, ENTRY.expires)
    assert pointer.body_bytes == len(ENTRY.body)
    assert pointer.entry(ENTRY.body) == ENTRY
    assert address_in(sealed[:HEAD_BYTES]) == address_in(sealed) == address
    assert refusal(sealed) is Refusal.UNREACHABLE
    for other in (SEALED, sealed[: HEAD_BYTES - 1], b"", b"x" + sealed[1:]):
        assert address_in(other) is None


def test_an_entry_counts_for_more_than_its_body() -> None:
    assert ENTRY.size_bytes == len(ENTRY.body) + OVERHEAD_BYTES
    assert len(SEALED) <= ENTRY.size_bytes


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda vector: vector["name"])
def test_the_envelopes_of_former_releases_open(vector: dict[str, Any]) -> None:
    sealer, entry = Sealer(Secret(vector["secret"].encode())), entry_of(vector["entry"])
    assert sealer.open(entry.key, bytes.fromhex(vector["envelope"])) == entry
    assert sealer.seal(entry, nonce=bytes.fromhex(vector["nonce"])).hex() == vector["envelope"]


def test_the_examples_of_the_documentation_are_golden_vectors() -> None:
    root = TESTS
    golden = "".join(file.read_text() for file in (root / "golden").glob("*.json"))
    examples = re.findall(
        r"`([0-9a-f]{12,})`", (root.parent / "docs" / "format.md").read_text().partition("## Leases")[0]
    )
    assert len(examples) == 5
    assert all(f'"{example}"' in golden for example in examples)


def entry_of(fields: dict[str, Any]) -> Entry:
    tags = tuple((tag, epoch) for tag, epoch in fields["tags"])
    return Entry(
        **(fields | {"key": bytes.fromhex(fields["key"]), "body": bytes.fromhex(fields["body"]), "tags": tags})
    )


def test_what_is_written_and_not_read_keeps_no_cipher():
    """It takes 3 kB, and most that is new is not read again."""
    sealer = Sealer(Secret())
    sealed = sealer.seal(ENTRY)
    assert sealer._cipher.cache_info().currsize == 0
    assert sealer.open(ENTRY.key, sealed) == ENTRY
    assert sealer._cipher.cache_info().currsize == 1
