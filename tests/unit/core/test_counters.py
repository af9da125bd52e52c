"""Counters: their names in lasting totals, their labels, and the metrics that show them."""

import pytest

from sayonce.core.counters import CopyOutcome, Counter, Counts, FlightPart
from sayonce.core.outcome import Outcome, Refusal
from sayonce.errors import Failure
from sayonce.observe.collect import METRIC_OF
from sayonce.observe.metrics import METRICS


@pytest.mark.parametrize(
    ("counter", "labels", "name"),
    [
        (Counter.ANSWERS, (Outcome.BYPASS,), "bypass: no-store"),
        (Counter.SAVED_SECONDS, (), "saved_seconds"),
        (Counter.FLIGHTS, (FlightPart.TAKEN_OVER,), "flights: taken over"),
        (Counter.REFUSED_VALUES, (Refusal.TOO_LARGE,), "refused: too large"),
        (Counter.STORE_ERRORS, ("bodies", Failure.TIMEOUT), "bodies errors: timeout"),
        (Counter.STORE_SKIPPED, ("store",), "store skipped"),
        (Counter.SYNTHESES, (), "engine calls"),
        (Counter.ENGINE_CALLS, ("espeak",), "engine calls: espeak"),
        (Counter.VOICE_COPIES, ("far", CopyOutcome.SENT), "voice copies sent: far"),
        (Counter.FEATURE_REQUESTS, ("a {strange}: name",), "feature requests: a {strange}: name"),
    ],
)
def test_a_counter_keeps_its_name_in_lasting_totals(counter, labels, name):
    """Stores hold these names: another name would begin the total anew."""
    counts = Counts()
    counts.add(counter, *labels, number=2)
    assert counts.by_name() == {name: 2}


@pytest.mark.parametrize("counter", METRIC_OF)
def test_a_metric_has_the_labels_of_the_counter_that_it_shows(counter):
    (metric,) = (metric for metric in METRICS if metric.name == METRIC_OF[counter])
    assert metric.labels == counter.labels


NO_METRIC = {
    Counter.ANSWERS: "sayonce_requests and sayonce_request_errors have those of speech, sayonce_feature_requests others",
    Counter.SAVED_SECONDS: "sayonce_saved_compute_seconds has those of speech, by engine",
    Counter.LEFT: "an outcome of sayonce_request_errors",
    Counter.REFUSED_REQUESTS: "sayonce_request_errors has those of speech, by reason",
    Counter.SYNTHESES: "the sum of sayonce_engine_calls",
    Counter.COMPUTED_SECONDS: "sayonce_engine_seconds has all time of engines, sayonce_compute_seconds what was heard",
    Counter.FAILED_READINGS: "the calls that failed are in sayonce_store_errors, those not made in sayonce_store_skipped",
    Counter.STORE_WRITES_DROPPED: "of use beside the totals alone: it is no error, and /v1/cache/stats has it",
}
"""Counters that no metric shows, and why."""


def test_every_counter_is_shown_by_a_metric_or_listed_with_the_reason():
    assert set(Counter) - METRIC_OF.keys() == NO_METRIC.keys()


def test_a_counter_with_a_label_too_many_or_too_few_is_an_error():
    for labels in ((), ("store", "get", "again")):
        counts = Counts()
        counts.add(Counter.STORE_CALLS, *labels)
        with pytest.raises(ValueError, match="zip"):
            counts.by_name()


def test_a_counter_of_something_that_has_not_happened_is_zero():
    assert Counts().by_name()["left"] == 0


def test_what_happens_is_counted_once_unless_a_number_is_given():
    counts = Counts()
    counts.add(Counter.LEFT)
    counts.add(Counter.LEFT)
    counts.add(Counter.SAVED_SECONDS, number=2.5)
    counts.add(Counter.FLIGHTS, FlightPart.LED)
    assert counts.by_name() == {"left": 2, "saved_seconds": 2.5, "flights: led": 1}
