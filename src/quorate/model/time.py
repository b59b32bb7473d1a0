"""ISO 8601 dates, durations and Pacemaker's interval notation, as plain integers.

A moment is wall seconds since 1970 in UTC (a date without a zone is UTC). Calendar arithmetic is done on
`datetime.date`; a day that does not exist in a month after adding months becomes that month's last day.
Source: ISO 8601; Pacemaker Explained, "Rules", and its notation for intervals.
"""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple

EPOCH_DAY = datetime.date(1970, 1, 1).toordinal()
DAY = 86_400


class Duration(NamedTuple):
    """Calendar-aware span; add it with `add_duration`."""

    years: int = 0
    months: int = 0
    weeks: int = 0
    days: int = 0
    hours: int = 0
    minutes: int = 0
    seconds: int = 0


_DATE_FORMS = (
    (re.compile(r"^([+-]?\d{4,})-W(\d{1,2})(?:-(\d))?$"), "week"),
    (re.compile(r"^(\d{4})W(\d{2})(\d)?$"), "week"),
    (re.compile(r"^(\d{4})-(\d{1,2})-(\d{1,2})$"), "calendar"),
    (re.compile(r"^(\d{4})(\d{2})(\d{2})$"), "calendar"),
    (re.compile(r"^(\d{4})-(\d{3})$"), "ordinal"),
    (re.compile(r"^(\d{4})(\d{3})$"), "ordinal"),
    (re.compile(r"^(\d{4})-(\d{1,2})$"), "month"),
)
_TIME = re.compile(r"^(\d{1,2})(?::?(\d{2}))?(?::?(\d{2}))?(?:[.,]\d+)?$")
_ZONE = re.compile(r"^([+-])(\d{2})(?::?(\d{2}))?$")


def day_seconds(day: datetime.date) -> int:
    return (day.toordinal() - EPOCH_DAY) * DAY


def _parse_day(text: str) -> datetime.date:
    for form, kind in _DATE_FORMS:
        match = form.match(text)
        if match is None:
            continue
        first, second, *rest = match.groups()
        if kind == "week":
            return datetime.date.fromisocalendar(int(first), int(second), int(rest[0] or 1))
        if kind == "calendar":
            return datetime.date(int(first), int(second), int(rest[0]))
        if kind == "month":
            return datetime.date(int(first), int(second), 1)
        start = datetime.date(int(first), 1, 1)
        day = start + datetime.timedelta(days=int(second) - 1)
        if day.year != start.year:
            raise ValueError(f"'{text}': that year has no day {second}")
        return day
    raise ValueError(f"'{text}' is not a date")


def _parse_time(text: str) -> int:
    """Seconds after midnight UTC."""
    text = text.strip()
    offset = 0
    if text.endswith(("Z", "z")):
        text = text[:-1].strip()
    else:
        at = max(text.rfind("+"), text.rfind("-"))
        if at > 0:
            zone = _ZONE.match(text[at:].strip())
            if zone is None:
                raise ValueError(f"'{text[at:]}' is not a time zone")
            offset = int(zone[2]) * 3600 + int(zone[3] or 0) * 60
            if zone[1] == "-":
                offset = -offset
            text = text[:at].strip()
    match = _TIME.match(text)
    if match is None:
        raise ValueError(f"'{text}' is not a time")
    hours, minutes, seconds = int(match[1]), int(match[2] or 0), int(match[3] or 0)
    if hours > 24 or minutes > 59 or seconds > 60 or (hours == 24 and (minutes or seconds)):
        raise ValueError(f"'{text}' is not a time")
    return hours * 3600 + minutes * 60 + seconds - offset


def parse_moment(text: str, now: int | None = None) -> int:
    """Wall seconds of an ISO 8601 date, date and time, or time of the day `now` lies in. Raises ValueError."""
    text = text.strip()
    if not text:
        raise ValueError("an empty date")
    if text == "epoch":
        return 0
    for separator in ("T", " "):
        if separator in text and not text.startswith("T"):
            day, _, clock = text.partition(separator)
            return day_seconds(_parse_day(day)) + _parse_time(clock)
    if text.startswith("T") or (":" in text and now is not None):
        base = 0 if now is None else now - now % DAY
        return base + _parse_time(text.removeprefix("T"))
    return day_seconds(_parse_day(text))


_DURATION = re.compile(r"(\d+)([YMWDHS])")


def parse_duration(text: str) -> Duration:
    """An ISO 8601 duration such as P1Y2M3DT4H5M6S. Raises ValueError."""
    text = text.strip()
    if not text.startswith("P") or len(text) < 2:
        raise ValueError(f"'{text}' is not a duration")
    day_part, has_time, time_part = text[1:].partition("T")
    found: dict[str, int] = {}
    for part, names in ((day_part, {"Y": "years", "M": "months", "W": "weeks", "D": "days",
                                    "H": "hours", "S": "seconds"}),  # as in P10S, which is meant often
                        (time_part, {"H": "hours", "M": "minutes", "S": "seconds"})):
        if "".join(number + unit for number, unit in _DURATION.findall(part)) != part:
            raise ValueError(f"'{text}' is not a duration")
        for number, unit in _DURATION.findall(part):
            if unit not in names:
                raise ValueError(f"'{text}' is not a duration")
            found[names[unit]] = int(number)
    if has_time and not time_part:
        raise ValueError(f"'{text}' is not a duration")
    return Duration(**found)


def add_months(day: datetime.date, months: int) -> datetime.date:
    total = day.year * 12 + day.month - 1 + months
    year, month = divmod(total, 12)
    month += 1
    following = datetime.date(year + (month == 12), month % 12 + 1, 1)
    last = (following - datetime.timedelta(days=1)).day
    return datetime.date(year, month, min(day.day, last))


def add_duration(moment: int, span: Duration) -> int:
    """`moment` plus a calendar-aware span, applied from years down to seconds."""
    days, rest = divmod(moment, DAY)
    day = datetime.date.fromordinal(days + EPOCH_DAY)
    day = add_months(day, span.years * 12)
    day = add_months(day, span.months)
    return (
        day_seconds(day) + rest + (span.weeks * 7 + span.days) * DAY
        + span.hours * 3600 + span.minutes * 60 + span.seconds
    )


def duration_seconds(span: Duration) -> int:
    """Length when counted from the epoch (months and years have no length of their own)."""
    return add_duration(0, span)


class CalendarMoment(NamedTuple):
    """A moment's fields as `date_spec` names them."""

    years: int
    months: int
    monthdays: int
    yeardays: int
    weekyears: int
    weeks: int
    weekdays: int  # 1 is Monday
    hours: int
    minutes: int
    seconds: int


def calendar_moment(moment: int) -> CalendarMoment:
    days, rest = divmod(moment, DAY)
    day = datetime.date.fromordinal(days + EPOCH_DAY)
    week_year, week, week_day = day.isocalendar()
    return CalendarMoment(
        day.year, day.month, day.day, day.timetuple().tm_yday, week_year, week, week_day,
        rest // 3600, rest // 60 % 60, rest % 60,
    )


_UNITS_MS = {
    "": 1000.0, "s": 1000.0, "sec": 1000.0, "ms": 1.0, "msec": 1.0, "us": 0.001, "usec": 0.001,
    "m": 60_000.0, "min": 60_000.0, "h": 3_600_000.0, "hr": 3_600_000.0,
}
_INTERVAL = re.compile(r"^\s*([+-]?\d+)\s*([a-zA-Z]*)")


def parse_interval_ms(text: str | None, default: int | None = None) -> int | None:
    """Milliseconds of "10s", "5min", "200ms", "PT1H" or a bare number of seconds; `default` when it is none of these."""
    if text is None:
        return default
    text = text.strip()
    if text.startswith("P"):
        try:
            return duration_seconds(parse_duration(text)) * 1000
        except ValueError:
            return default
    match = _INTERVAL.match(text)
    if match is None:
        return default
    factor = _UNITS_MS.get(match[2].lower())
    if factor is None:
        return default
    return int(int(match[1]) * factor)


def moment_text(moment: int) -> str:
    """2024-01-31 12:00:00Z"""
    c = calendar_moment(moment)
    return f"{c.years:04}-{c.months:02}-{c.monthdays:02} {c.hours:02}:{c.minutes:02}:{c.seconds:02}Z"
