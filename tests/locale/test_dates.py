import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.locale.dates import day_phrase, phrase_for, with_zone

D = datetime.timedelta
NOW = datetime.datetime(2026, 11, 21, 2, 30, tzinfo=datetime.UTC)  # a Saturday


def said(age: D, **options) -> str:
    phrase = phrase_for(NOW - age, NOW, **options)
    message = phrase.plural if phrase.plural and phrase.count != 1 else phrase.message
    values = dict(phrase.values)
    if "time" in values:
        values["time"] = values["time"].strftime("%H:%M")
    return message % values


@pytest.mark.parametrize(
    ("age", "options", "expected"),
    [
        (D(0), {}, "0 seconds ago"),
        (D(seconds=1), {}, "1 second ago"),
        (D(seconds=49), {"shorter": True}, "49 seconds ago"),
        (D(seconds=50), {}, "1 minute ago"),
        (D(minutes=2), {}, "2 minutes ago"),
        (D(minutes=49, seconds=59), {}, "50 minutes ago"),
        (D(minutes=50), {}, "1 hour ago"),
        (D(hours=23), {}, "23 hours ago"),
        (D(hours=2), {"relative": False}, "00:30"),
        (D(hours=23, minutes=40), {}, "24 hours ago"),
        (D(hours=24), {}, "yesterday at 02:30"),
        (D(hours=24), {"shorter": True}, "yesterday"),
        (D(hours=24), {"relative": False}, "Friday at 02:30"),
        (D(hours=30), {}, "Thursday at 20:30"),
        (D(hours=30), {"gmt_offset": 480}, "yesterday at 12:30"),
        (D(days=2), {"shorter": True}, "Thursday"),
        (D(days=4), {}, "Tuesday at 02:30"),
        (D(days=5), {}, "November 16 at 02:30"),
        (D(days=5), {"shorter": True}, "November 16"),
        (D(days=333), {}, "December 23 at 02:30"),
        (D(days=334), {}, "December 22, 2025 at 02:30"),
        (D(days=334), {"shorter": True}, "December 22, 2025"),
        (D(0), {"full_format": True}, "November 21, 2026 at 02:30"),
        (D(0), {"full_format": True, "shorter": True}, "November 21, 2026"),
        (D(0), {"full_format": True, "gmt_offset": 180}, "November 20, 2026 at 23:30"),
        # Clocks differ: less than a minute ahead is now. Other dates in the future are never relative.
        (D(seconds=-59), {}, "0 seconds ago"),
        (D(seconds=-59), {"relative": False}, "November 21, 2026 at 02:30"),
        (D(minutes=-2), {}, "November 21, 2026 at 02:32"),
        (D(days=-2), {"shorter": True}, "November 23, 2026"),
    ],
)
def test_phrases(age, options, expected):
    assert said(age, **options) == expected


def test_the_clock_of_the_dates_own_zone():
    zone = datetime.timezone(D(hours=5))
    date = datetime.datetime(2026, 11, 20, 6, 0, tzinfo=zone)  # 25.5 hours ago; it is 07:30 on the 21st there
    phrase = phrase_for(date, NOW)
    assert phrase.message == "yesterday at %(time)s"
    assert phrase.values["time"].hour == 6


@given(
    st.datetimes(datetime.datetime(1971, 1, 1), datetime.datetime(2200, 1, 1)),
    st.integers(-840, 840),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_every_phrase_has_its_values(date, offset, relative, shorter, full):
    phrase = phrase_for(date.replace(tzinfo=datetime.UTC), NOW, offset, relative, shorter, full)
    assert phrase.message % phrase.values
    if phrase.plural is not None:
        assert phrase.count is not None
        assert phrase.plural % phrase.values


def test_with_zone():
    aware = NOW.astimezone(datetime.timezone(D(hours=1)))
    assert with_zone(aware) is aware
    assert with_zone(NOW.replace(tzinfo=None)) == NOW
    assert with_zone(0) == datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert with_zone(0.5).microsecond == 500_000


def test_days():
    date = datetime.datetime(2013, 4, 28, 1, 35)
    for arguments, expected in (
        ({}, "Sunday, April 28"),
        ({"dow": False}, "April 28"),
        ({"gmt_offset": 480}, "Saturday, April 27"),
    ):
        phrase = day_phrase(date, **arguments)
        assert phrase.message % phrase.values == expected
