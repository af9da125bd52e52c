"""Identity: equal documents, and only they, have equal digests."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sayonce.core.key import DIGEST_BYTES, Secret, canonical, derive, digest
from sayonce.errors import Unkeyable
from tests.helpers.confusable_values import PAIRS, everywhere, typed
from tests.helpers.paths import TESTS

GOLDEN = json.loads((TESTS / "golden" / "keys.json").read_text())
SECRET = Secret(b"secret")

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([0, 1, -1, 2**53, 2**53 + 1]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, 2.0**53]),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(["", "0", "1", "1.0", "true", "null", "None", "a:b", "c"]),
    st.binary(),
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
documents = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
    max_leaves=12,
)


def shuffled(value: Any) -> Any:
    """Return an equal document whose fields stand in another order, with tuples for lists."""
    if isinstance(value, dict):
        return {name: shuffled(item) for name, item in reversed(value.items())}
    return tuple(shuffled(item) for item in value) if isinstance(value, list) else value


@given(documents, documents)
def test_documents_have_equal_digests_exactly_when_they_are_equal_with_their_types(one: Any, other: Any) -> None:
    assert (digest(one, SECRET) == digest(other, SECRET)) == (typed(one) == typed(other))


@given(scalars, scalars)
def test_single_values_have_equal_encodings_exactly_when_they_are_equal_with_their_types(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (typed(one) == typed(other))


@st.composite
def twins(draw: st.DrawFn) -> tuple[Any, Any]:
    """Draw two documents that are equal but for one place, where what stands there is easily taken for the same."""
    one, other = draw(st.sampled_from(PAIRS))
    for _ in range(draw(st.integers(0, 3))):
        beside = draw(st.lists(st.sampled_from([None, 1, "a"]), max_size=2))
        if draw(st.booleans()):
            one, other = [*beside, one], [*beside, other]
        else:
            fields = dict(zip("bc", beside, strict=False))
            one, other = {"a": one} | fields, fields | {"a": other}
    return one, shuffled(other) if draw(st.booleans()) else other


@settings(max_examples=600)
@given(twins())
def test_nearly_equal_documents_have_equal_digests_exactly_when_they_are_equal_with_their_types(
    pair: tuple[Any, Any],
) -> None:
    one, other = pair
    assert (digest(one, SECRET) == digest(other, SECRET)) == (typed(one) == typed(other))


@pytest.mark.parametrize("pair", PAIRS, ids=repr)
def test_lookalike_values_are_told_apart_wherever_they_stand_in_a_document(pair: tuple[Any, Any]) -> None:
    for one, other in everywhere(pair):
        assert (canonical(one) == canonical(other)) == (typed(one) == typed(other))


@given(documents)
def test_the_order_of_fields_and_the_kind_of_sequence_do_not_change_a_digest(document: Any) -> None:
    assert digest(shuffled(document), SECRET) == digest(document, SECRET)


@pytest.mark.parametrize(
    "different",
    [
        [1, 1.0, "1", True, [1], b"1", {"1": 1}],
        [None, "", 0, False, {}, [], b"", 0.0, -0.0],
        [{"a": 1}, {"a": 1, "b": None}, {"a": 1, "": None}, {"a": None}],
        [["a:b", "c"], ["a", "b:c"], ["a:b:c"], "a:b:c"],
        [{"voice": "1", "x": "2"}, {"voice": "1x2"}, {"voice": "1x", "": "2"}],
        ["ab", ["a", "b"], ["ab"], [["a"], "b"]],
        ["US", "us", "Us"],
        ["now here", "nowhere", "now  here"],
        ["5 degrees", "-5 degrees"],
        ["\u00e9", "e\u0301"],  # normalizing is the engine's decision, not the key's
        [0.1, 0.1 + 2**-55, 0.30000000000000004, 0.3],
        [2**53, 2**53 + 1, float(2**53)],
    ],
)
def test_lookalike_documents_have_different_digests(different: list[Any]) -> None:
    assert len({digest(document, SECRET) for document in different}) == len(different)


def test_a_digest_has_256_bits() -> None:
    assert len(digest({}, SECRET)) == DIGEST_BYTES == 32


def test_digests_differ_by_secret_and_are_the_same_for_the_same_secret() -> None:
    secrets = [Secret(), Secret(b"a"), Secret(b"b"), Secret(b"a" * 1000)]
    assert len({digest("text", secret) for secret in secrets}) == 4
    assert digest("text", Secret(b"a")) == digest("text", Secret(b"a"))


def test_a_secret_shows_nowhere_and_its_keys_are_independent() -> None:
    secret = Secret(b"hunter2")
    assert repr(secret) == "Secret(configured)"
    assert repr(Secret()) == "Secret(default)"
    assert len({secret.digest_key, secret.seal_key, Secret().digest_key, Secret().seal_key}) == 4


def test_a_derived_identity_differs_by_parent_and_by_variant_and_from_every_digest() -> None:
    one, other = digest("one", SECRET), digest("other", SECRET)
    variants = [{"format": "mp3"}, {"format": "opus"}, {"format": "mp3", "sample_rate_hz": 8000}]
    derived = {derive(parent, canonical(variant)) for parent in (one, other) for variant in variants}
    assert len(derived | {one, other}) == 8
    assert derive(one, b"x") == derive(one, b"x") != derive(other, b"x")
    assert {len(identity) for identity in derived} == {DIGEST_BYTES}


# -- what has no exact identity ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (math.nan, "nan; a finite number is needed"),
        (math.inf, "inf; a finite number is needed"),
        (-math.inf, "-inf; a finite number is needed"),
        ({1, 2}, "a set"),
        (frozenset(), "a frozenset"),
        (object(), "an object"),
        (bytearray(b"x"), "a bytearray"),
        (1j, "a complex"),
        (2**64, "an integer beyond 64 bits"),
        (-(2**63) - 1, "an integer beyond 64 bits"),
        pytest.param(10**5000, "an integer beyond 64 bits", id="an integer of 5001 digits"),
        ("a\ud800b", "text with a lone surrogate"),
        ({1: "x"}, "a mapping with a field name that is no string"),
        ({None: "x"}, "a mapping with a field name that is no string"),
        ({"\udfff": "x"}, "a mapping with a field name that is no string"),
    ],
)
def test_a_value_without_exact_identity_is_refused_by_its_place_in_the_document(value: Any, what: str) -> None:
    with pytest.raises(Unkeyable, match=what) as refused:
        digest({"fine": 1.5, "parameters": {"text": ["é", value]}}, SECRET)
    assert refused.value.param == "parameters.text[1]"
    assert str(refused.value).startswith("parameters.text[1] is ")
    with pytest.raises(Unkeyable, match=f"^the document is {what}"):
        canonical(value)


def test_the_greatest_and_least_integers_are_not_blamed_for_another_value() -> None:
    with pytest.raises(Unkeyable, match=r"^c is nan"):
        canonical({"a": -(2**63), "b": 2**64 - 1, "c": math.nan})


def test_subclasses_are_refused_as_their_equality_is_their_own() -> None:
    class Text(str):
        __slots__ = ()

    with pytest.raises(Unkeyable, match="a Text"):
        canonical(Text("x"))


def test_a_document_that_is_nested_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(Unkeyable, match="nested too deeply"):
        canonical(endless)


# -- for ever ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", GOLDEN["digests"], ids=lambda vector: vector["name"])
def test_the_digests_of_former_releases_are_the_same(vector: dict[str, Any]) -> None:
    assert canonical(vector["document"]).hex() == vector["canonical"]
    assert digest(vector["document"], Secret(vector["secret"].encode())).hex() == vector["digest"]


@pytest.mark.parametrize("vector", GOLDEN["derived"], ids=lambda vector: vector["name"])
def test_the_derived_identities_of_former_releases_are_the_same(vector: dict[str, Any]) -> None:
    assert derive(bytes.fromhex(vector["parent"]), canonical(vector["variant"])).hex() == vector["identity"]


def test_bytes_have_the_same_encoding_as_ever() -> None:
    assert canonical({"b": b"\x00\xff", "a": [b""]}).hex() == "82a16191c400a162c40200ff"


def test_the_keys_that_are_drawn_from_a_secret_are_those_of_former_releases() -> None:
    """With other ones nothing that is stored would open, and no body outside would be found."""
    drawn = {name: getattr(SECRET, name).hex() for name in ("digest_key", "seal_key", "body_key", "flight_key")}
    assert drawn == {
        "digest_key": "f036fa7027725e738a8b9a51971a0d8f150ecb39fe17872ab8bdd9a867363670",
        "seal_key": "37aaac1128bfdf5abf622f94c77b7cc6d708e7f41646797492d33011ee261b53",
        "body_key": "254acd5bff6a78bd881b61537aaf55e1e5c7697b9f8f3f594586b4f8a65a73d3",
        "flight_key": "20227af6363ee9f5440346c36c66fe6ccf3064535decc516e7508ef142c24f85",
    }
    assert SECRET.configured
    assert not Secret().configured
