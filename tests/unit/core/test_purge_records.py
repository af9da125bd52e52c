"""The records of purges: each is read where it lies, by its own namespace, and by nobody without the secret."""

from __future__ import annotations

import pytest

from sayonce.core.envelope import Entry, Refused, Sealer
from sayonce.core.key import Digest, Secret, digest
from sayonce.core.outcome import Refusal
from sayonce.core.purges import MAX_TAG_BYTES, MAX_TAGS, PurgeRecords, check_tags
from sayonce.errors import InvalidRequest

SECRET = Secret(b"secret")
SEALER = Sealer(SECRET)


def keyed(document: object) -> Digest:
    return digest(document, SECRET)


RECORDS = PurgeRecords(SEALER, "house", keyed)
FIELD = RECORDS.field("voice=anna")


def refusal(field: str, sealed: bytes) -> Refusal:
    with pytest.raises(Refused) as refused:
        RECORDS.read(field, sealed)
    return refused.value.reason


def test_a_record_is_read_where_it_lies_and_never_expires() -> None:
    sealed = RECORDS.sealed("voice=anna", 7, 12.5)
    assert RECORDS.read(FIELD, sealed) == ("voice=anna", 7)
    entry = SEALER.open(bytes.fromhex(FIELD), sealed)
    assert (entry.created, entry.media_type) == (12.5, "")
    assert entry.expires > 1e18
    assert refusal(RECORDS.field("voice=bela"), sealed) is Refusal.SEAL


def test_a_record_of_another_namespace_is_not_for_this_one() -> None:
    other = PurgeRecords(SEALER, "elsewhere", keyed)
    assert RECORDS.read(FIELD, other.sealed("voice=anna", 7, 1.0)) is None


def test_a_tag_is_read_from_its_own_field_alone_though_the_record_is_sealed_for_another() -> None:
    moved = PurgeRecords(SEALER, "house", lambda document: keyed(["purge", "voice=bela"]))
    assert refusal(moved.field(""), moved.sealed("voice=anna", 7, 1.0)) is Refusal.SEAL


@pytest.mark.parametrize("field", ["", "xy", FIELD.upper(), FIELD[:-2], FIELD + "00", " " + FIELD, "x" * 64])
def test_a_field_that_is_no_digest_as_it_is_written_is_not_ours(field: str) -> None:
    assert refusal(field, RECORDS.sealed("voice=anna", 7, 1.0)) is Refusal.FOREIGN


def test_a_sealed_value_that_is_no_record_is_refused() -> None:
    entry = Entry(key=bytes.fromhex(FIELD), body=b"sound", media_type="", created=1.0, expires=2.0)
    assert refusal(FIELD, SEALER.seal(entry)) is Refusal.HEADER


def test_tags_are_few_and_short_and_the_error_names_the_field() -> None:
    fine = ["x" * MAX_TAG_BYTES] * MAX_TAGS
    assert (MAX_TAG_BYTES, MAX_TAGS) == (1_200, 64)
    assert check_tags(iter(fine)) == tuple(fine)
    for wrong, told in (
        ([*fine, "x"], "at most 64 tags, not 65"),
        ([""], "not 0 characters"),
        (["x" * (MAX_TAG_BYTES + 1)], "not 1201 characters"),
        (["\u00e9" * 601], "not 601 characters"),
    ):
        with pytest.raises(InvalidRequest, match=told) as refused:
            check_tags(wrong)
        assert refused.value.param == "tags"
        with pytest.raises(InvalidRequest) as refused:
            check_tags(wrong, "labels")
        assert refused.value.param == "labels"
    with pytest.raises(InvalidRequest):
        check_tags(["\ud800" * 401])  # three bytes each
    assert check_tags(["\ud800" * 400])
