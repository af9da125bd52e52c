"""What the simulator says about policies, sizes and times to live, and that a store then does the same."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayonce.core.envelope import OVERHEAD_BYTES, Entry
from sayonce.observe.simulate import DAY_SECONDS, Access, Result, footprint, reference_trace, simulate
from sayonce.stores.memory import MemoryStore
from sayonce.testing import FakeClock

POLICIES = ["gdsf", "lru"]
TRACES = st.lists(st.tuples(st.floats(0, 100), st.integers(0, 9), st.floats(0, 10)), max_size=200).map(
    lambda rows: [
        Access(time, bytes([number]), 50 + 20 * number, cost)
        for time, (_, number, cost) in zip(sorted(row[0] for row in rows), rows, strict=True)
    ]
)


@pytest.fixture(scope="module")
def small_trace() -> list[Access]:
    """A fifth of the reference trace, with a fifth of its phrases."""
    return list(reference_trace(50_000, phrases=4000))


def test_simulate_tells_hits_misses_and_evictions_apart():
    trace = [Access(time, key, 100, 2.0) for time, key in enumerate([b"a", b"b", b"a", b"c", b"b", b"a"])]
    assert simulate(trace, "lru", 200) == Result(
        requests=6, hits=1, compute_seconds=10.0, saved_seconds=2.0, peak_bytes=200, evicted=3
    )
    assert simulate(trace, "lru", 300).hits == 3
    assert simulate(trace, "lru", 300).hit_rate == 0.5
    assert simulate(trace, "lru", 300).saved_share == 0.5


def test_a_value_is_served_for_its_time_to_live_and_not_after():
    trace = [Access(time, b"a", 100, 1.0) for time in (0, 9.9, 10, 15, 20)]
    assert simulate(trace, "lru", 100, ttl_seconds=10).hits == 2  # at 9.9 and at 15
    assert simulate(trace, "gdsf", 100, ttl_seconds=10).hits == 2
    assert simulate(trace, "gdsf", 100).hits == 4


@pytest.mark.parametrize("policy", POLICIES)
def test_another_format_of_a_take_that_is_kept_is_a_hit_and_a_value_of_its_own(policy):
    trace = [Access(time, key, 100, 2.0, b"take", 300) for time, key in enumerate([b"mp3", b"opus", b"opus"])]
    assert simulate(trace, policy, 500, ttl_seconds=10) == Result(
        requests=3, hits=2, compute_seconds=2.0, saved_seconds=4.0, peak_bytes=500, evicted=0
    )
    assert footprint(trace) == 500
    late = [*trace, Access(11, b"opus", 100, 2.0, b"take", 300)]
    assert simulate(late, policy, 500, ttl_seconds=10).hits == 2  # a format is no younger than its take


@pytest.mark.parametrize("policy", POLICIES)
def test_a_trace_without_requests_saves_nothing(policy):
    result = simulate([], policy, 100)
    assert (result.requests, result.hit_rate, result.saved_share, result.peak_bytes) == (0, 0, 0, 0)


@pytest.mark.parametrize("policy", POLICIES)
@given(trace=TRACES, max_bytes=st.integers(0, 2000), ttl_seconds=st.none() | st.floats(0, 100))
def test_in_a_simulation_every_second_is_saved_or_computed_and_the_bound_holds(policy, trace, max_bytes, ttl_seconds):
    result = simulate(trace, policy, max_bytes, ttl_seconds)
    assert result.requests == len(trace)
    assert 0 <= result.hits <= len(trace) - len({access.key for access in trace})
    total = sum(access.cost_seconds for access in trace)
    assert result.compute_seconds + result.saved_seconds == pytest.approx(total)
    assert result.peak_bytes <= min(max_bytes, footprint(trace))


@pytest.mark.parametrize("policy", POLICIES)
@given(trace=TRACES)
def test_simulate_computes_each_value_once_in_space_for_everything(policy, trace):
    result = simulate(trace, policy, footprint(trace))
    assert result.hits == len(trace) - len({access.key for access in trace})
    assert (result.peak_bytes, result.evicted) == (footprint(trace), 0)


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_real_store_has_the_hits_that_simulate_foretold(policy, small_trace):
    clock, ttl_seconds = FakeClock(0.0), 0.7 * DAY_SECONDS
    trace = [
        Access(access.time, access.key, access.size_bytes // 100 + 300, access.cost_seconds) for access in small_trace
    ]
    max_bytes = footprint(trace) // 20
    store, hits = MemoryStore(max_bytes, policy, clock=clock), 0
    for access in trace:
        clock.now = access.time
        if await store.get(access.key) is not None:
            hits += 1
        else:
            await store.put(
                Entry(
                    key=access.key,
                    body=bytes(access.size_bytes - OVERHEAD_BYTES),
                    media_type="audio/flac",
                    created=clock(),
                    expires=clock() + ttl_seconds,
                    compute_seconds=access.cost_seconds,
                )
            )
    assert hits == simulate(trace, policy, max_bytes, ttl_seconds).hits > 10_000


# -- the reference trace -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", [1, 5])
def test_gdsf_saves_more_compute_seconds_than_lru_on_the_reference_trace(percent):
    trace = list(reference_trace())
    max_bytes = footprint(trace) * percent // 100
    gdsf, lru = (simulate(trace, policy, max_bytes) for policy in ("gdsf", "lru"))
    assert gdsf.saved_seconds > 1.2 * lru.saved_seconds
    assert gdsf.hit_rate > lru.hit_rate


@pytest.mark.parametrize(
    "shape", [{}, {"skew": 0.7, "drift": 0.2}, {"skew": 1.1, "one_off_share": 0.05}, {"drift": 0.5}]
)
@pytest.mark.parametrize("percent", [1, 5, 20])
def test_gdsf_saves_more_than_lru_on_other_shapes_too(shape, percent):
    trace = list(reference_trace(30_000, seed=2, phrases=2400, **shape))
    max_bytes = footprint(trace) * percent // 100
    assert simulate(trace, "gdsf", max_bytes).saved_share > simulate(trace, "lru", max_bytes).saved_share


def test_the_reference_trace_is_the_same_for_the_same_seed(small_trace):
    assert list(reference_trace(50_000, phrases=4000)) == small_trace
    other = reference_trace(50_000, seed=2, phrases=4000)
    assert not {access.key for access in itertools.islice(other, 1000)} & {access.key for access in small_trace}


def test_the_reference_trace_has_speech_of_real_sizes_and_costs(small_trace):
    assert all(access.size_bytes > OVERHEAD_BYTES and access.cost_seconds > 0.05 for access in small_trace)
    seconds = sum(access.size_bytes - OVERHEAD_BYTES for access in small_trace) / 24_000
    assert sum(access.cost_seconds for access in small_trace) / seconds == pytest.approx(0.22, abs=0.02)
    sizes = [{access.size_bytes for access in small_trace if access.key == key} for key in repeated(small_trace)]
    assert all(len(of_one) == 1 for of_one in sizes[:100])


def test_the_reference_trace_repeats_a_few_phrases_much_and_one_off_texts_never(small_trace):
    counts = sorted(counted(small_trace).values(), reverse=True)
    assert sum(counts[:40]) > 0.15 * len(small_trace)
    assert counts.count(1) > 0.2 * len(small_trace)
    assert sum(size > 10 * 24_000 for size in (access.size_bytes for access in small_trace)) > 0.15 * len(small_trace)


def test_the_reference_trace_drifts_from_day_to_day():
    trace = list(reference_trace(20_000, phrases=200, skew=0, one_off_share=0, drift=0.25, days=2))
    assert trace[-1].time < 2 * DAY_SECONDS
    first, second = ({access.key for access in trace if access.time // DAY_SECONDS == day} for day in (0, 1))
    assert (len(first), len(second), len(first & second)) == (200, 200, 150)


def counted(trace: list[Access]) -> dict[bytes, int]:
    counts: dict[bytes, int] = {}
    for access in trace:
        counts[access.key] = counts.get(access.key, 0) + 1
    return counts


def repeated(trace: list[Access]) -> list[bytes]:
    return [key for key, count in counted(trace).items() if count > 1][:100]
