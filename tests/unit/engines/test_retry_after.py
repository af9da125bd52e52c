"""What servers write where they say when to come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayonce.speech.engines.runtime.retry_after import retry_after_seconds
from sayonce.testing import FakeClock

NOW = FakeClock(1_800_000_000.0)  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 7 "}, 7),
        ({"retry-after": "0.2"}, 1),
        ({"retry-after": "7."}, 7),
        ({"retry-after": "99999999999"}, 3600),
        ({"retry-after": "9" * 400}, 0),
        ({"retry-after": "-7"}, 0),
        ({"retry-after": "nan"}, 0),
        ({"retry-after": "inf"}, 0),
        ({"retry-after": "1_0"}, 0),
        ({"retry-after": "\u0663"}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after-ms": "1500"}, 2),
        ({"retry-after-ms": "1500", "retry-after": "30"}, 2),
        ({"retry-after-ms": "soon", "retry-after": "30"}, 30),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}, 30),
        ({"retry-after": "Fri, 15 Jan 2027 09:00:30 +0100"}, 30),
        ({"retry-after": "Friday, 15-Jan-27 08:00:30 GMT"}, 30),
        ({"retry-after": "Fri Jan 15 08:00:30 2027"}, 30),
        ({"retry-after": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0),
        ({"retry-after": "Fri, 15 Jan 2100 08:00:00 GMT"}, 3600),
        ({"retry-after": "Fri, 15 Jan 99999 08:00:00 GMT"}, 0),
        ({"retry-after": "Fri, 15 Jan 2027 09:00:30 GMT", "date": "Fri, 15 Jan 2027 09:00:00 GMT"}, 30),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT", "date": "today"}, 30),
    ],
)
def test_a_number_a_fraction_a_date_and_milliseconds_are_understood_within_an_hour(headers, seconds):
    assert retry_after_seconds(headers, NOW) == seconds


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date"]), st.text(max_size=90)))
def test_whatever_a_server_writes_is_a_pause_within_the_bound(headers):
    assert 0 <= retry_after_seconds(headers, NOW) <= 3600


DATES = st.from_regex(
    r"[A-Z][a-z]{2},? [0-9]{1,3} (Jan|Feb|xyz) [0-9]{1,6} [0-9]{1,3}:[0-9]{2}(:[0-9]{2})? [A-Z+-][0-9A-Z]{0,5}"
)


@given(DATES, DATES)
def test_any_date_however_odd_is_a_pause_within_the_bound(then, date):
    assert 0 <= retry_after_seconds({"retry-after": then, "date": date}, NOW) <= 3600
