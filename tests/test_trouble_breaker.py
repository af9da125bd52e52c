"""The circuit breaker: when it opens, what it costs while open, how it closes."""

import pytest

from sayonce.core.breaker import (
    FAILURE_RATIO,
    LEAST_FAILURES,
    PROBE_AFTER_SECONDS,
    PROBE_LIMIT_SECONDS,
    WINDOW_CALLS,
    WINDOW_SECONDS,
    Breaker,
    State,
)

NOW = 1000.0


def opened() -> Breaker:
    breaker = Breaker()
    assert [breaker.failed(NOW) for _ in range(LEAST_FAILURES)] == [False] * (LEAST_FAILURES - 1) + [True]
    return breaker


def half_open() -> Breaker:
    breaker = opened()
    assert breaker.allows(NOW + PROBE_AFTER_SECONDS)
    return breaker


@pytest.mark.parametrize("failures", range(WINDOW_CALLS + 1))
def test_it_opens_when_too_many_of_the_recent_calls_failed(failures):
    breaker = Breaker()
    for call in range(1000):
        breaker.succeeded(NOW - 1 - call / 1000)  # a long good time before does not delay it
    for call in range(WINDOW_CALLS):
        if call < WINDOW_CALLS - failures:
            breaker.succeeded(NOW)
        else:
            breaker.failed(NOW)
    assert breaker.open is (failures >= FAILURE_RATIO * WINDOW_CALLS)


def test_a_store_that_is_seldom_asked_opens_it_as_well():
    breaker = opened()
    assert breaker.state is State.OPEN


def test_failures_of_long_ago_do_not_count():
    breaker = Breaker()
    assert not any(breaker.failed(NOW + call * WINDOW_SECONDS / (LEAST_FAILURES - 1)) for call in range(100))


def test_an_open_one_allows_one_call_at_a_time_after_an_interval():
    breaker = opened()
    later = NOW + PROBE_AFTER_SECONDS
    assert [breaker.allows(now) for now in (NOW, later - 0.001, later, later, later + 0.1)] == [
        False,
        False,
        True,
        False,
        False,
    ]
    assert breaker.state is State.HALF_OPEN


def test_a_probe_that_never_told_its_result_does_not_keep_it_open_for_ever():
    breaker = half_open()
    assert not breaker.allows(NOW + PROBE_AFTER_SECONDS + PROBE_LIMIT_SECONDS - 0.001)
    assert breaker.allows(NOW + PROBE_AFTER_SECONDS + PROBE_LIMIT_SECONDS)


def test_a_failed_probe_keeps_it_open_for_another_interval_without_saying_so_again():
    breaker = half_open()
    assert not breaker.failed(NOW + 1)
    assert breaker.state is State.OPEN
    assert not breaker.allows(NOW + 1 + PROBE_AFTER_SECONDS - 0.001)
    assert breaker.allows(NOW + 1 + PROBE_AFTER_SECONDS)


def test_a_good_probe_closes_it_and_says_so_once():
    breaker = half_open()
    assert breaker.succeeded(NOW + 1)
    assert not breaker.succeeded(NOW + 1)
    assert breaker.state is State.CLOSED
    assert not breaker.failed(NOW + 1)  # and what failed before is forgotten


def test_late_results_of_earlier_calls_change_nothing_while_it_is_open():
    breaker = opened()
    assert not breaker.succeeded(NOW)
    assert not breaker.failed(NOW + PROBE_AFTER_SECONDS - 0.001)
    assert breaker.state is State.OPEN
    assert breaker.allows(NOW + PROBE_AFTER_SECONDS)
