"""Which phrase says a date best. Pure: the time is a parameter, translating is left to the caller."""

import datetime
from dataclasses import dataclass
from typing import Any

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


@dataclass(frozen=True, slots=True)
class Phrase:
    """A message to translate: its plural and the count that decides, where it has one, and its values.

    Values may be ``time`` (a local `datetime.datetime`), ``weekday`` and ``month_name`` (English, to be
    translated), ``day``, ``year``, ``seconds``, ``minutes``, ``hours``.
    """

    message: str
    values: dict[str, Any]
    plural: str | None = None
    count: int | None = None


def with_zone(date: datetime.datetime | float) -> datetime.datetime:
    """Return a date with time zone: numbers are POSIX timestamps, dates without zone are UTC."""
    if not isinstance(date, datetime.datetime):
        return datetime.datetime.fromtimestamp(date, datetime.UTC)
    if date.tzinfo is None:
        return date.replace(tzinfo=datetime.UTC)
    return date


def _ago(seconds: int) -> Phrase:
    if seconds < 50:
        return Phrase("1 second ago", {"seconds": seconds}, "%(seconds)d seconds ago", seconds)
    if seconds < 50 * 60:
        minutes = round(seconds / 60)
        return Phrase("1 minute ago", {"minutes": minutes}, "%(minutes)d minutes ago", minutes)
    hours = round(seconds / 3600)
    return Phrase("1 hour ago", {"hours": hours}, "%(hours)d hours ago", hours)


def _day_before(date: datetime.datetime) -> datetime.date:
    return date.date() - datetime.timedelta(days=1)


def phrase_for(
    date: datetime.datetime,
    now: datetime.datetime,
    gmt_offset: int = 0,
    relative: bool = True,
    shorter: bool = False,
    full_format: bool = False,
) -> Phrase:
    """Choose how to say ``date`` to somebody who reads it at ``now``; both with time zone.

    :param gmt_offset: minutes the reader is behind UTC, as JavaScript's ``getTimezoneOffset`` counts.
    :param relative: say how long ago it was when that is less than a day, and "yesterday".
    :param shorter: leave the time of day out where there is a date.
    :param full_format: always say the whole date.
    """
    if date > now:
        if relative and (date - now).total_seconds() < 60:
            date = now  # clocks differ: a moment ahead is now
        else:
            full_format = True
    offset = datetime.timedelta(minutes=gmt_offset)
    local = date - offset
    age = now - date
    values: dict[str, Any] = {
        "time": local,
        "weekday": WEEKDAYS[local.weekday()],
        "month_name": MONTHS[local.month - 1],
        "day": str(local.day),
        "year": str(local.year),
    }
    if full_format or age.days >= 334:  # eleven months: the day alone could be of this year
        message = "%(month_name)s %(day)s, %(year)s"
    elif age.days == 0:
        return _ago(age.seconds) if relative else Phrase("%(time)s", values)
    elif age.days == 1 and relative and local.date() == _day_before(now.astimezone(date.tzinfo) - offset):
        message = "yesterday"
    elif age.days < 5:
        message = "%(weekday)s"
    else:
        message = "%(month_name)s %(day)s"
    return Phrase(message if shorter else message + " at %(time)s", values)


def day_phrase(date: datetime.datetime, gmt_offset: int = 0, dow: bool = True) -> Phrase:
    """Choose how to name a day, with its weekday if ``dow``."""
    local = date - datetime.timedelta(minutes=gmt_offset)
    values = {
        "weekday": WEEKDAYS[local.weekday()],
        "month_name": MONTHS[local.month - 1],
        "day": str(local.day),
    }
    return Phrase("%(weekday)s, %(month_name)s %(day)s" if dow else "%(month_name)s %(day)s", values)
