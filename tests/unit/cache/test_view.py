"""How long what is known of purges may answer: half a second after a reading, and ``store.offline`` after a failed one."""

import pytest

from sayonce.cache.view import TRUST_SECONDS, View


@pytest.fixture
def view(clock):
    def view(offline_seconds):
        view = View(offline_seconds, clock)
        view.read(view.now())
        return view

    return view


def test_tables_that_were_read_are_fresh_and_trusted_for_half_a_second_and_no_longer(view, clock):
    view = view(offline_seconds=24 * 3600)
    clock.advance(TRUST_SECONDS - 0.01)
    assert (view.trusted, view.fresh, view.due) == (True, True, False)
    clock.advance(0.02)
    assert (view.trusted, view.fresh, view.due) == (False, False, True)


def test_no_table_is_trusted_or_fresh_before_it_is_first_read(clock):
    view = View(24 * 3600, clock)
    assert (view.trusted, view.fresh, view.ever_read) == (False, False, False)


def test_the_age_of_a_table_counts_from_the_moment_when_reading_it_began(view, clock):
    view = view(offline_seconds=0)
    began = view.now()
    clock.advance(2 * TRUST_SECONDS)
    view.read(began)
    assert (view.trusted, view.fresh, view.covers(began), view.covers(began + 0.1)) == (False, False, True, False)


def fails_for(view, clock, seconds):
    """Try again at each moment that is due; return for how long what is known was trusted."""
    trusted_seconds, started = 0.0, view.now()
    while view.now() < started + seconds:
        if view.due:
            view.failed(view.now())
        if view.trusted:
            trusted_seconds = view.now() - started
        clock.advance(0.125)
    return trusted_seconds


@pytest.mark.parametrize("offline_seconds", [0, 2, 60])
def test_while_the_store_is_away_hits_end_after_store_offline_and_tables_are_never_fresh(view, clock, offline_seconds):
    view = view(offline_seconds)
    assert fails_for(view, clock, offline_seconds + 10) == pytest.approx(TRUST_SECONDS + offline_seconds, abs=0.125)
    assert (view.trusted, view.fresh, view.offline_seconds_left) == (False, False, 0)


def test_a_store_that_is_back_is_trusted_at_once_and_the_time_of_store_offline_begins_anew(view, clock):
    view = view(offline_seconds=2)
    fails_for(view, clock, 10)
    view.read(view.now())
    assert (view.trusted, view.fresh, view.away_seconds) == (True, True, 0)
    assert fails_for(view, clock, 10) == pytest.approx(TRUST_SECONDS + 2, abs=0.125)
