"""Records between instances: what was sealed for a place in a flight opens there alone, and looks as it ever did."""

from __future__ import annotations

import msgspec
import pytest

from sayonce.core.envelope import Entry, Refused
from sayonce.core.key import Secret
from sayonce.core.outcome import Refusal
from sayonce.core.relay import (
    CHALLENGE_BYTES,
    CHALLENGE_RECORD_BYTES,
    OWNER_CHARACTERS,
    Ending,
    FlightSeal,
    encoded,
    is_genuine,
    new_owner,
)

SECRET = Secret(b"secret")
KEY = bytes(range(32))
OWNER = new_owner(SECRET, KEY)
ENTRY = Entry(key=KEY, body=b"sound", media_type="audio/flac", created=1.0, expires=2.0)


def test_a_record_opens_at_its_place_in_its_flight_alone() -> None:
    record = FlightSeal(SECRET, KEY, OWNER).seal("computation", 3, b"chunk")
    assert FlightSeal(SECRET, KEY, OWNER).open("computation", 3, record) == b"chunk"
    elsewhere = [
        (FlightSeal(Secret(b"other"), KEY, OWNER), "computation", 3, record),
        (FlightSeal(SECRET, bytes(32), OWNER), "computation", 3, record),
        (FlightSeal(SECRET, KEY + OWNER[:2].encode(), OWNER[2:]), "computation", 3, record),
        (FlightSeal(SECRET, KEY, new_owner(SECRET, KEY)), "computation", 3, record),
        (FlightSeal(SECRET, KEY, OWNER), "followers", 3, record),
        (FlightSeal(SECRET, KEY, OWNER), "computation", 4, record),
        (FlightSeal(SECRET, KEY, OWNER), "computation", 3, record + b"x"),
        (FlightSeal(SECRET, KEY, OWNER), "computation", 3, record[:-1]),
        (FlightSeal(SECRET, KEY, OWNER), "computation", 3, bytes([record[0] ^ 1]) + record[1:]),
        (FlightSeal(SECRET, KEY, OWNER), "computation", 3, b""),
    ]
    for seal, part, position, altered in elsewhere:
        with pytest.raises(Refused) as refused:
            seal.open(part, position, altered)
        assert refused.value.reason is Refusal.SEAL


def test_records_are_the_same_in_every_release() -> None:
    """Instances of two releases work side by side while one of them is being replaced."""
    seal = FlightSeal(SECRET, KEY, "ab" * 32)
    assert seal.seal("computation", 258, b"chunk").hex() == "19f07eded42ee4016e5ca49aa759b26a6368756e6b"
    assert Ending.of(5, ENTRY).body_digest.hex() == "174d21d6a42baf37cbbc73fd03caf38c7cc91d60e8abf8b623f9f0efffec1701"
    assert (len(OWNER), OWNER_CHARACTERS) == (64, 64)
    assert (CHALLENGE_BYTES, CHALLENGE_RECORD_BYTES) == (16, 32)
    assert is_genuine(SECRET, KEY, "000102030405060708090a0b0c0d0e0f87e0e0415283c5324cf344fb08daed7c")


def test_an_ending_fits_the_entry_that_it_was_made_of_alone() -> None:
    ending = Ending.of(5, ENTRY)
    assert (ending.relayed_bytes, ending.entry) == (5, None)
    assert ending.fits(ENTRY)
    assert not ending.fits(msgspec.structs.replace(ENTRY, body=b"Sound"))


def test_an_entry_is_told_whole_whatever_kind_of_bytes_its_key_is() -> None:
    class Digits(bytes):
        __slots__ = ()

    told = encoded(msgspec.structs.replace(ENTRY, key=Digits(KEY)))
    assert msgspec.msgpack.decode(told, type=Entry) == ENTRY


def test_a_holder_is_genuine_for_its_key_and_secret_in_one_spelling() -> None:
    assert is_genuine(SECRET, KEY, OWNER)
    assert new_owner(SECRET, KEY) != OWNER
    assert not is_genuine(Secret(b"other"), KEY, OWNER)
    assert not is_genuine(SECRET, bytes(32), OWNER)
    altered = ("0" if OWNER[0] != "0" else "1") + OWNER[1:]
    for other in (OWNER.upper(), altered, OWNER[:-2], OWNER + "00", " " + OWNER[1:], "\u00e9" * 64, "x" * 64, ""):
        assert not is_genuine(SECRET, KEY, other)
