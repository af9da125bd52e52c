"""The circuit breaker: when it opens, what it costs while open, how it closes."""

import pytest

from sayonce.core.breaker import (
    FAILED_MOMENTS,
    FAILURE_RATIO,
    LEAST_MOMENTS,
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
    assert [breaker.failed(NOW) for _ in range(FAILED_MOMENTS)] == [False] * (FAILED_MOMENTS - 1) + [True]
    return breaker


def half_open() -> Breaker:
    breaker = opened()
    assert breaker.allows(NOW + PROBE_AFTER_SECONDS)
    return breaker


def test_the_circuit_breaker_opens_when_nothing_answers_any_more():
    breaker = Breaker()
    for _ in range(1000):
        breaker.succeeded(NOW)  # a long good time before does not delay it
    assert [breaker.failed(NOW) for _ in range(FAILED_MOMENTS)][-1]


@pytest.mark.parametrize("failures", range(LEAST_MOMENTS, WINDOW_CALLS))
def test_the_circuit_breaker_opens_when_too_many_of_the_latest_calls_failed_and_not_before(failures):
    breaker = Breaker()
    opened = False
    for call in range(WINDOW_CALLS):  # the failures spread evenly among the calls
        if (call + 1) * failures // WINDOW_CALLS > call * failures // WINDOW_CALLS:
            opened = breaker.failed(NOW) or opened
        else:
            breaker.succeeded(NOW)
    assert opened is (failures >= FAILURE_RATIO * WINDOW_CALLS)


def test_a_success_now_and_then_does_not_keep_the_circuit_breaker_closed():
    breaker = Breaker()
    for _ in range(LEAST_MOMENTS):
        breaker.succeeded(NOW)
        breaker.failed(NOW)
    assert breaker.open


def test_the_circuit_breaker_forgets_failures_of_long_ago():
    breaker = Breaker()
    assert not any(breaker.failed(NOW + call * WINDOW_SECONDS / (FAILED_MOMENTS - 1)) for call in range(100))


def test_calls_that_failed_at_the_same_moment_do_not_open_the_circuit_breaker():
    breaker = Breaker()
    for moment in range(FAILED_MOMENTS - 1):
        assert not any(breaker.failed(NOW + moment / 10, began=NOW + moment / 10 - 0.05) for _ in range(100))
    assert breaker.failed(NOW + 1, began=NOW + 0.95)


def test_a_suspected_hang_that_a_failure_confirms_counts_as_a_failure_of_its_own():
    breaker = Breaker()
    breaker.suspected(NOW)
    assert not breaker.failed(NOW + 0.1, began=NOW)
    assert breaker.failed(NOW + 0.2, began=NOW + 0.1)


def test_an_open_circuit_breaker_allows_one_probe_at_a_time_after_an_interval():
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


def test_a_probe_without_a_result_does_not_keep_the_circuit_breaker_open_for_ever():
    breaker = half_open()
    assert not breaker.allows(NOW + PROBE_AFTER_SECONDS + PROBE_LIMIT_SECONDS - 0.001)
    assert breaker.allows(NOW + PROBE_AFTER_SECONDS + PROBE_LIMIT_SECONDS)


def test_a_failed_probe_keeps_the_circuit_breaker_open_for_another_interval_without_telling_it_again():
    breaker = half_open()
    assert not breaker.failed(NOW + 1)
    assert breaker.state is State.OPEN
    assert not breaker.allows(NOW + 1 + PROBE_AFTER_SECONDS - 0.001)
    assert breaker.allows(NOW + 1 + PROBE_AFTER_SECONDS)


def test_a_good_probe_closes_the_circuit_breaker_and_tells_it_once():
    breaker = half_open()
    assert breaker.succeeded(NOW + 1)
    assert not breaker.succeeded(NOW + 1)
    assert breaker.state is State.CLOSED
    assert not breaker.failed(NOW + 1)  # and what failed before is forgotten


def test_late_results_of_earlier_calls_change_nothing_while_the_circuit_breaker_is_open():
    breaker = opened()
    assert not breaker.succeeded(NOW)
    assert not breaker.failed(NOW + PROBE_AFTER_SECONDS - 0.001)
    assert breaker.state is State.OPEN
    assert breaker.allows(NOW + PROBE_AFTER_SECONDS)


def test_a_store_is_in_doubt_from_the_first_failure_until_the_next_success():
    breaker = Breaker()
    assert not breaker.doubtful
    breaker.failed(NOW)
    assert breaker.doubtful
    breaker.succeeded(NOW)
    assert not breaker.doubtful
    breaker.suspected(NOW)
    assert breaker.doubtful
