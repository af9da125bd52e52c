"""The rest of the pure core: parameters and their buckets, Cache-Control, breaker, epochs, eviction."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sayonce.core.audio_start import AudioStart
from sayonce.core.cache_control import DEFAULT, Policy, parse_cache_control
from sayonce.core.counters import CopyOutcome, FlightPart, Operation, Renewal
from sayonce.core.envelope import Entry
from sayonce.core.epochs import Epochs
from sayonce.core.eviction import LRU, new_policy
from sayonce.core.key import canonical
from sayonce.core.outcome import Outcome, Refusal
from sayonce.core.tracer import NoTracer
from sayonce.errors import InvalidRequest
from sayonce.speech.engines import Parameter

# -- buckets -----------------------------------------------------------------------------------------------------------

SPEED = Parameter(name="speed", type=float, default=1.0, minimum=0.25, maximum=4.0, tolerance=0.1)
steps = st.sampled_from(["0.01", "0.05", "0.1", "0.3", "0.5", "1", "7", "1e-6"])


def exact(value: float) -> Fraction:
    """Return the number that a float's shortest digits denote."""
    return Fraction(str(value))


@given(st.floats(0.25, 4.0))
def test_a_value_is_asked_for_within_its_tolerance(value: float) -> None:
    assert abs(exact(SPEED.accept(value)) - exact(value)) <= Fraction("0.1")


@given(st.floats(-1e6, 1e6), steps, st.floats(-10, 10))
def test_a_representative_lies_within_any_tolerance_and_represents_itself(
    value: float, tolerance: str, default: float
) -> None:
    parameter = Parameter(name="p", type=float, default=default, tolerance=float(tolerance))
    chosen = parameter.accept(value)
    # Half a float's spacing more, as the exact middle of a bucket need not be a float.
    assert abs(exact(chosen) - exact(value)) <= Fraction(tolerance) + Fraction(math.ulp(chosen))
    assert parameter.accept(chosen) == chosen


@given(st.floats(allow_nan=False, allow_infinity=False), steps)
@example(5.900062784349801e16, "7")
def test_huge_and_tiny_values_have_representatives_too(value: float, tolerance: str) -> None:
    parameter = Parameter(name="p", type=float, default=0.5, tolerance=float(tolerance))
    chosen = parameter.accept(value)
    assert math.isfinite(chosen)
    assert parameter.accept(chosen) == chosen


@given(st.data(), steps)
def test_at_the_ends_of_a_range_the_representative_stays_within_it(data: st.DataObject, tolerance: str) -> None:
    low = data.draw(st.floats(-5, 0))
    high = data.draw(st.floats(0, 5))
    default, value = data.draw(st.floats(low, high)), data.draw(st.floats(low, high))
    parameter = Parameter(name="p", type=float, default=default, minimum=low, maximum=high, tolerance=float(tolerance))
    chosen = parameter.accept(value)
    assert low <= chosen <= high
    assert parameter.accept(chosen) == chosen
    assert parameter.accept(low) <= chosen <= parameter.accept(high)


@given(st.integers(-(10**6), 10**6), st.integers(-50, 50), st.sampled_from([0.3, 0.5, 0.7, 1, 2.5, 10]))
def test_whole_numbers_are_represented_by_whole_numbers_within_the_tolerance(
    value: int, default: int, tolerance: float
) -> None:
    parameter = Parameter(name="p", type=int, default=default, tolerance=tolerance)
    chosen = parameter.accept(value)
    assert type(chosen) is int
    assert abs(chosen - value) <= tolerance
    assert parameter.accept(chosen) == chosen


@pytest.mark.parametrize(
    ("value", "chosen"),
    [
        (1.0, 1.0),
        (0.9, 1.0),  # a bucket's lower edge is its own …
        (1.0999999, 1.0),
        (1.1, 1.2),  # … and the upper one the next bucket's
        (1.3, 1.4),
        (0.8999999, 0.8),
        (0.7, 0.8),
        (0.25, 0.25),  # the middle, 0.2, is out of range
        (3.95, 4.0),
        (4, 4.0),
    ],
)
def test_the_edges_of_buckets_lie_where_they_are_documented(value: float, chosen: float) -> None:
    assert SPEED.accept(value) == chosen


@given(st.floats(0.25, 4.0), st.floats(0.25, 4.0))
def test_a_larger_value_never_has_a_smaller_representative(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert SPEED.accept(low) <= SPEED.accept(high)


def test_without_a_default_the_buckets_lie_around_zero() -> None:
    assert [Parameter(name="p", type=int, tolerance=5).accept(value) for value in (-6, -5, 4, 5)] == [-10, 0, 0, 10]


def test_the_default_represents_itself() -> None:
    assert SPEED.accept(SPEED.default) == SPEED.default == SPEED.accept(None)


@given(st.floats(0.25, 4.0))
def test_without_a_tolerance_a_value_is_itself(value: float) -> None:
    assert Parameter(name="p", type=float, default=1.0).accept(value) == value


# -- types ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "accepted"),
    [
        (float, 1, 1.0),
        (float, -0.0, 0.0),
        (float, 0, 0.0),
        (int, 7.0, 7),
        (int, -0.0, 0),
        (int, 2**63, 2**63),
        (str, "", ""),
        (bool, False, False),
    ],
)
def test_a_value_takes_its_declared_type(kind: type, value: Any, accepted: Any) -> None:
    found = Parameter(name="p", type=kind).accept(value)
    assert canonical(found) == canonical(accepted)  # tells 1 from 1.0 and -0.0 from 0.0


@given(st.floats(-0.05, 0.05))
def test_no_bucket_is_represented_by_minus_zero(value: float) -> None:
    chosen = Parameter(name="p", type=float, default=0.0, tolerance=0.1).accept(value)
    assert math.copysign(1, chosen) == 1


HUGE = pytest.param(float, 10**400, "at most 64 bits", id="too large for a float")
HUGER = pytest.param(int, 10**5000, "at most 64 bits", id="too large to print")


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        (float, True, "a number"),
        (float, "1.0", "a number"),
        (float, [1], "a number"),
        (float, math.nan, "a finite number"),
        (float, math.inf, "a finite number"),
        (int, True, "a whole number"),
        (int, 1.5, "a whole number"),
        (int, math.inf, "a whole number"),
        (int, math.nan, "a whole number"),
        (int, 1e300, "at most 64 bits"),
        (str, 1, "a string"),
        (str, b"x", "a string"),
        (bool, 1, "true or false"),
        (bool, "true", "true or false"),
        HUGE,
        HUGER,
    ],
)
def test_a_value_of_another_type_is_refused_by_name(kind: type, value: Any, wanted: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"^'speed' must be .*{wanted}") as refused:
        Parameter(name="speed", type=kind).accept(value)
    assert refused.value.param == "speed"
    assert len(str(refused.value)) < 120


@pytest.mark.parametrize(
    ("bounds", "value", "message"),
    [
        ({"minimum": 0.25, "maximum": 4.0}, 5, "between 0.25 and 4, not 5.0"),
        ({"minimum": 0.25, "maximum": 4.0}, 0.2499, "between 0.25 and 4, not 0.2499"),
        ({"minimum": 0}, -1, "at least 0, not -1.0"),
        ({"maximum": 2}, 3, "at most 2, not 3.0"),
    ],
)
def test_a_value_out_of_range_is_refused_and_the_range_named(bounds: Any, value: float, message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"'p' must be {message}"):
        Parameter(name="p", type=float, tolerance=0.1, default=1.0, **bounds).accept(value)


def test_a_choice_is_one_of_those_declared() -> None:
    style = Parameter(name="style", type=str, default="calm", choices=("calm", "glad"))
    assert (style.accept("glad"), style.accept(None)) == ("glad", "calm")
    with pytest.raises(InvalidRequest, match="'style' must be one of calm, glad, not 'Glad'"):
        style.accept("Glad")


@pytest.mark.parametrize(
    "number", [2**64, -(2**63) - 1, pytest.param(10**400, id="no float"), pytest.param(10**4000, id="long")]
)
def test_a_number_that_no_key_can_hold_is_refused(number: int) -> None:
    vector = Parameter(name="vector", type=list, length=2)
    with pytest.raises(InvalidRequest, match="'vector' must be a list of 2 numbers"):
        vector.accept([0.5, number])
    for parameter in (SPEED, Parameter(name="seed", type=int)):
        with pytest.raises(InvalidRequest, match=r"at most 64 bits, not a larger one$"):
            parameter.accept(number)


def test_a_long_wrong_value_is_not_repeated() -> None:
    with pytest.raises(InvalidRequest, match=r"not a str$"):
        SPEED.accept("x" * 100_000)


# -- Cache-Control (RFC 9111) ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "policy"),
    [
        ("", DEFAULT),
        ("no-store", Policy(no_store=True)),
        ("NO-CACHE", Policy(no_cache=True)),
        (" only-if-cached ,max-age=0", Policy(only_if_cached=True, max_age_seconds=0)),
        ('max-age="60"', Policy(max_age_seconds=60)),
        ("max-age = 60", Policy(max_age_seconds=60)),
        ("max-age=999999999", Policy(max_age_seconds=999_999_999)),
        ("max-age=99999999999", Policy(max_age_seconds=2**31)),
        pytest.param("max-age=" + "9" * 5000, Policy(max_age_seconds=2**31), id="more digits than int() takes"),
        ("max-stale, min-fresh=3, s-maxage=x, no-store=1, x", Policy(no_store=True)),
        (",,no-cache,", Policy(no_cache=True)),
    ],
)
def test_cache_control_is_read_as_the_rfc_says(header: str, policy: Policy) -> None:
    assert parse_cache_control(header) == policy


@pytest.mark.parametrize("argument", ["", "=", "=x", "=-1", "=1.5", "=²", "=٣", "=1 2", '=""'])
def test_a_max_age_that_is_no_number_of_seconds_is_refused(argument: str) -> None:
    with pytest.raises(InvalidRequest, match="max-age takes a number of seconds"):
        parse_cache_control(f"max-age{argument}")


@given(st.text())
def test_any_cache_control_header_is_read_or_refused(header: str) -> None:
    try:
        parse_cache_control(header)
    except InvalidRequest:
        assert "max-age" in header.lower()


def test_only_no_store_and_no_cache_keep_a_stored_value_from_answering() -> None:
    assert [Policy().reads, Policy(no_store=True).reads, Policy(no_cache=True).reads] == [True, False, False]
    assert Policy(only_if_cached=True, max_age_seconds=0).reads


@pytest.mark.parametrize(("max_age", "accepted"), [(None, True), (61, True), (60, True), (59, False), (0, False)])
def test_a_stored_value_answers_up_to_the_maximal_age(max_age: int | None, *, accepted: bool) -> None:
    entry = Entry(key=bytes(32), body=b"", media_type="", created=1000.0, expires=9000.0)
    assert Policy(max_age_seconds=max_age).accepts(entry, 1060.0) is accepted


def test_outcomes_that_computed_are_told_from_those_that_did_not() -> None:
    assert {outcome for outcome in Outcome if outcome.computed} == {Outcome.LED, Outcome.BYPASS}


# -- epochs ------------------------------------------------------------------------------------------------------------


def test_a_purge_outdates_what_carries_the_tag_and_nothing_else() -> None:
    epochs = Epochs()
    alice, bob = epochs.stamp(["voice=alice", "tenant=acme"]), epochs.stamp(["voice=bob", "tenant=acme"])
    assert alice == (("voice=alice", 0), ("tenant=acme", 0))
    epochs.learn({"voice=alice": 1})
    assert (epochs.current(alice), epochs.current(bob), epochs.current(())) == (False, True, True)
    assert epochs.current(epochs.stamp(["voice=alice", "tenant=acme"]))


def test_an_entry_of_an_epoch_that_is_not_known_yet_is_current() -> None:
    epochs = Epochs()
    epochs.learn({"voice=alice": 1})
    assert epochs.current((("voice=alice", 2),))


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 9))))
def test_an_epoch_never_goes_back(learned: list[dict[str, int]]) -> None:
    epochs, highest = Epochs(), dict.fromkeys("abc", 0)
    for news in learned:
        epochs.learn(news)
        highest = {tag: max(epoch, news.get(tag, 0)) for tag, epoch in highest.items()}
        assert epochs.stamp("abc") == tuple(highest.items())


# -- eviction ----------------------------------------------------------------------------------------------------------

keys = st.integers(0, 9).map(lambda number: bytes([number]))


class LRUAgainstAModel(RuleBasedStateMachine):
    """A list of (key, value, size), the least recently used first, does the same as the LRU."""

    bound = 100

    def __init__(self) -> None:
        super().__init__()
        self.lru: LRU[int] = LRU(self.bound)
        self.model: list[tuple[bytes, int, int]] = []
        self.evicted = 0

    def take(self, key: bytes) -> tuple[bytes, int, int] | None:
        found = next((item for item in self.model if item[0] == key), None)
        self.model = [item for item in self.model if item[0] != key]
        return found

    @rule(key=keys, value=st.integers(), size=st.integers(0, 120))
    def put(self, key: bytes, value: int, size: int) -> None:
        self.take(key)
        assert self.lru.put(key, value, size) is (size <= self.bound)
        if size > self.bound:
            return
        self.model.append((key, value, size))
        while sum(size for _, _, size in self.model) > self.bound:
            self.model.pop(0)
            self.evicted += 1

    @rule(key=keys)
    def get(self, key: bytes) -> None:
        found = self.take(key)
        self.model += [found] if found else []
        assert self.lru.get(key) == (found[1] if found else None)

    @rule(key=keys)
    def discard(self, key: bytes) -> None:
        assert self.lru.discard(key) is (self.take(key) is not None)

    @rule()
    def clear(self) -> None:
        assume(len(self.model) > 3)  # or hardly a run gets far
        self.lru.clear()
        self.model.clear()

    @invariant()
    def same(self) -> None:
        assert list(self.lru) == [key for key, _, _ in self.model]
        assert len(self.lru) == len(self.model)
        assert self.lru.used_bytes == sum(size for _, _, size in self.model) <= self.bound
        assert self.lru.evicted == self.evicted


TestLRU = LRUAgainstAModel.TestCase


# -- words that others read ----------------------------------------------------------------------------------------------


def test_the_words_for_how_a_request_was_answered_and_why_bytes_were_refused_stay() -> None:
    """Headers, metrics, logs and alerts of operators name them."""
    assert [each.value for each in Outcome] == ["hit", "stale", "joined", "led", "bypass: no-store", "failed"]
    assert [each.value for each in Refusal] == [
        "truncated", "too large", "foreign", "version", "seal", "header", "content", "body lost", "body altered",
        "body unreachable",
    ]  # fmt: skip
    assert [each.value for each in Operation] == [
        "get", "put", "delete", "find", "fetch", "place", "write", "restore", "count", "stats", "registry", "read", "swap",
        "refresh", "stored_clip", "acquire", "renew", "release", "publish", "go_on_with", "done",
    ]  # fmt: skip
    assert [each.value for each in FlightPart] == ["led", "joined", "followed", "taken over"]
    assert [each.value for each in CopyOutcome] == ["sent", "lost", "removed", "failed"]
    assert [each.value for each in Renewal] == ["done", "failed"]


def test_without_a_tracer_nothing_is_traced_and_no_header_is_handed_on() -> None:
    tracer = NoTracer()
    assert tracer.headers() == {}
    with tracer.span("lookup", key="k") as span:
        assert span is None


@pytest.mark.parametrize("name", ["lru", "gdsf"])
def test_a_key_is_in_a_policy_while_it_is_kept(name: Any) -> None:
    policy: Any = new_policy(name, 10)
    assert b"k" not in policy
    assert policy.put(b"k", "value", 10)
    assert (b"k" in policy, list(policy), len(policy)) == (True, [b"k"], 1)
    assert policy.discard(b"k") is True
    assert policy.discard(b"k") is False
    assert (b"k" in policy, policy.used_bytes) == (False, 0)
    assert policy.put(b"k", "value", 10)
    policy.clear()
    assert (list(policy), policy.used_bytes) == ([], 0)


def test_audio_is_one_channel_of_pcm_with_an_end_unless_it_says_otherwise() -> None:
    """Other instances may be told the same by fewer fields."""
    assert AudioStart(24_000) == AudioStart(24_000, 1, "audio/pcm", proves_end=True)


def test_a_request_with_an_age_gets_nothing_past_its_time_to_live_and_fresh_is_for_as_long_as_is_asked() -> None:
    entry = Entry(key=bytes(32), body=b"", media_type="", created=100.0, expires=200.0)
    assert Policy().accepts(entry, 1000.0)
    assert Policy(max_age_seconds=500).accepts(entry, 199.0)
    assert not Policy(max_age_seconds=500).accepts(entry, 200.0)
    assert not Policy(max_age_seconds=50).accepts(entry, 151.0)
    assert [Policy().fresh(entry, now) for now in (199.0, 200.0)] == [True, False]
    assert [Policy(min_fresh_seconds=10).fresh(entry, now) for now in (189.0, 190.0)] == [True, False]
