"""Option types of the command line and the config file: counts, durations, dollars, sizes."""

import math
import re
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import click

from agent_pipes.core.display import truncate
from agent_pipes.core.lazy_regex import pattern

OFF = 0
"""Value of a limit that is turned off, by `0` or `off`."""

MAX_QUOTED_CHARS = 60

MAX_COUNT = 10**9
MAX_DURATION_S = 10 * 365 * 86400
MAX_DOLLARS = 1e9
MAX_SIZE_BYTES = 1 << 40


class Option(click.Option):
    """An option of a filter, declared once, on the filter.

    flag: its name in `agent-strace watch`, "" if it has none there.
    key:  its place in the config file (`retry.max`), "" if it has none there.
    unit: factor from the config file's unit to the option's (60: minutes to seconds).
    old:  former names, accepted and hidden from the help; `old_key` is that in the config file.
    """

    def __init__(
        self,
        *args: Any,
        flag: str = "",
        key: str = "",
        unit: float = 1,
        old: tuple[str, ...] = (),
        old_key: str = "",
        **extra: Any,
    ) -> None:
        super().__init__(*args, **extra)
        self.old = old
        self.old_key = old_key
        self.flag = flag
        self.key = key
        self.unit = unit

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option's line in the help, without its former names."""
        every = self.opts
        self.opts = [name for name in every if name not in self.old]
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = every

    @cached_property
    def fallback(self) -> Any:
        """The default, converted to the option's type."""
        default: Any = self.get_default(click.Context(click.Command("")))
        # click 8.2 and later have a marker object for "no default".
        if type(default).__name__ == "Sentinel":
            default = None
        if self.multiple:
            return tuple(default or ())
        return None if default is None else self.type.convert(default, self, None)


def limit(
    name: str,
    *,
    type: Any,
    help: str,
    flag: str = "",
    key: str = "",
    unit: float = 1,
    default: Any = None,
    old: tuple[str, ...] = (),
    **extra: Any,
) -> Callable[[Any], Any]:
    """Declare a limit of a filter, which `0` or `off` turns off.

    The filter accepts its name in `watch`, too: `flag`.
    """
    names = [name, flag] if flag and flag != name else [name]
    return click.option(
        *names,
        *old,
        cls=Option,
        old=old,
        type=type,
        help=help,
        flag=flag,
        key=key,
        unit=unit,
        default=default,
        show_default=default is not None,
        **extra,
    )


class Count(click.ParamType):  # type: ignore[type-arg]
    """Whole number, `0` or `off` for no limit."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if _off(value):
            return OFF
        try:
            number = int(value) if not isinstance(value, (bool, float)) else None
        except (ValueError, TypeError):
            number = None
        if number is None or not 0 <= number <= MAX_COUNT:
            self.fail(
                f"expected a whole number such as 5, or 'off', not {_quoted(value)}.", param, ctx
            )
        return number


_UNITS = {"ms": 0.001, "s": 1, "": 60, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = pattern(r"(?:\d{1,9}(?:\.\d{1,6})?(?:ms|min|[smhdw]))+|\d{1,9}h\d{1,2}", re.ASCII)
_PART = pattern(r"(\d+(?:\.\d+)?)(ms|min|[smhdw]|$)", re.ASCII)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """Seconds, written `90`, `30s`, `1h30m`; `0` or `off` for no limit."""

    name = "TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if _off(value):
            return OFF
        if isinstance(value, str) and _DURATION.fullmatch(value.strip()):
            seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
        else:
            seconds = _number(value)
        if not 0 <= seconds <= MAX_DURATION_S:
            self.fail(
                f"expected a time such as 90, 30s, 10m or 1h30m, or 'off', not {_quoted(value)}.",
                param,
                ctx,
            )
        return seconds


class PointInTime(click.ParamType):  # type: ignore[type-arg]
    """A time in seconds since the epoch.

    It is written as a time ago (`7d`), as `today`, `yesterday`, or as a date of local time; `off`
    is None.
    """

    name = "WHEN"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        """Return the time, None for no limit."""
        if not isinstance(value, str) or _off(value):
            return None if _off(value) else float(value)
        text = value.strip().lower()
        try:
            if text in ("today", "yesterday"):
                day = datetime.now().date() - timedelta(days=text == "yesterday")
            else:
                day = date.fromisoformat(text)
            return datetime.combine(day, datetime.min.time()).timestamp()
        except ValueError:
            pass
        if _DURATION.fullmatch(text):
            return time.time() - float(DURATION.convert(text, param, ctx))
        self.fail(
            f"expected a date such as 2026-11-20, 'yesterday', or a time ago such as 7d, "
            f"not {_quoted(value)}.",
            param,
            ctx,
        )


class Dollars(click.ParamType):  # type: ignore[type-arg]
    """US dollars, written `5`, `0.50` or `$5`; `0` or `off` for no limit."""

    name = "DOLLARS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if _off(value):
            return OFF
        dollars = _number(value.strip().removeprefix("$") if isinstance(value, str) else value)
        if not 0 <= dollars <= MAX_DOLLARS:
            self.fail(
                f"expected dollars such as 5 or 0.50, or 'off', not {_quoted(value)}.", param, ctx
            )
        return dollars


class Size(click.ParamType):  # type: ignore[type-arg]
    """Bytes, written `4096`, `64K`, `1M`; `K` is 1024."""

    name = "BYTES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).strip().upper()
        factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1)
        size = _number(text[:-1] if factor > 1 else text) * factor
        if not 1 <= size <= MAX_SIZE_BYTES:
            self.fail(f"expected bytes such as 4096, 64K or 1M, not {_quoted(value)}.", param, ctx)
        return int(size)


_PERCENT = pattern(r"\d{1,2}(?:\.\d{1,3})?", re.ASCII)


class Percent(click.ParamType):  # type: ignore[type-arg]
    """Part of a limit, written `80%` or `80`; `0` or `off` for none."""

    name = "PERCENT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the percentage."""
        text = str(value).strip().removesuffix("%")
        if text.lower() == "off":
            return OFF
        if not _PERCENT.fullmatch(text):
            self.fail(
                f"expected a percentage below 100 such as 80%, or 'off', not {value!r}.", param, ctx
            )
        return float(text)


COUNT, DURATION, DOLLARS, SIZE, PERCENT = Count(), Duration(), Dollars(), Size(), Percent()
POINT_IN_TIME = PointInTime()


def _off(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() == "off"


_NUMBER = pattern(r"\d{1,12}(?:\.\d{0,9})?|\.\d{1,9}", re.ASCII)


def _number(value: object) -> float:
    """Return the number; NaN, which no bounds contain, if there is none."""
    if isinstance(value, str):
        text = value.strip()
        return float(text) if _NUMBER.fullmatch(text) else math.nan
    try:
        return (
            float(value)
            if isinstance(value, (int, float)) and not isinstance(value, bool)
            else math.nan
        )
    except OverflowError:
        return math.nan


def _quoted(value: object) -> str:
    return truncate(repr(value), MAX_QUOTED_CHARS)
