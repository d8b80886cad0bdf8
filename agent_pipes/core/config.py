"""The config file, `.agent-watch.json`: what it may hold is what the filters' options say, and nothing else."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from agent_pipes.core.options import Option

DEFAULT = Path(".agent-watch.json")


class ConfigError(click.UsageError):
    """A config that is not what was meant: the breaker must not start on anything else. Names file and key."""


def load(
    path: Path, options: Iterable[Option], watchers: Iterable[str]
) -> tuple[dict[str, Any], set[str]]:
    """What the file at `path` says: a value for each of `options` that it names (by the option's key), and which
    `watchers` it turns off (`"loop": false`).

    Raises ConfigError, with the file, the key, what was expected, and what may have been meant.
    """
    known = {option.key: option for option in options if option.key}
    values: dict[str, Any] = {}
    off: set[str] = set()
    document = _read(path)
    _keys(path, "", document, ("watchers", "webhook"))
    sections = _object(path, "watchers", document.get("watchers", {}))
    _keys(path, "watchers", sections, watchers)
    for watcher, section in sections.items():
        if section is False:
            off.add(watcher)
        elif section is not True:
            values |= _section(
                path,
                f"watchers.{watcher}",
                watcher,
                _object(path, f"watchers.{watcher}", section, "an object, true or false"),
                known,
            )
    webhook = _object(path, "webhook", document.get("webhook", {}))
    values |= _section(path, "webhook", "webhook", webhook, known)
    for name in values.get("webhook.events", ()):
        if name not in (every := sorted(watchers)):
            raise ConfigError(
                f"{path}: webhook.events: unknown watcher {name!r}{_meant(name, every)}; expected {', '.join(every)}"
            )
    return values, off


def _read(path: Path) -> dict[str, Any]:
    import json

    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None
    try:
        document = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deep") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(
            f'{path}: expected an object such as {{"watchers": {{"cost": {{"max_dollars": 5}}}}}}'
        )
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands there twice")
        found[key] = value
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f'{name} is no number; a limit is turned off with 0 or "off"')


def _section(
    path: Path, where: str, prefix: str, section: dict[str, Any], known: dict[str, Option]
) -> dict[str, Any]:
    keys = {
        key.partition(".")[2]: option
        for key, option in known.items()
        if key.partition(".")[0] == prefix
    }
    _keys(path, where, section, keys)
    return {
        f"{prefix}.{key}": _value(path, f"{where}.{key}", keys[key], value)
        for key, value in section.items()
    }


def _value(path: Path, where: str, option: Option, value: Any) -> Any:
    """The value as the option takes it, in the option's own unit."""
    if option.multiple:
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ConfigError(
                f"{path}: {where}: expected a string or a list of strings, found {_kind(value)}"
            )
        return tuple(_convert(path, where, option, each) for each in value)
    if (
        isinstance(value, (dict, list))
        or value is None
        or (isinstance(value, bool) and not option.is_flag)
    ):
        raise ConfigError(f"{path}: {where}: expected {_expected(option)}, found {_kind(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{path}: {where}: expected {_expected(option)}, found {value}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value *= option.unit
        value = int(value) if value == int(value) else value
    return _convert(path, where, option, value)


def _convert(path: Path, where: str, option: Option, value: Any) -> Any:
    try:
        return option.type.convert(value, option, None)
    except click.BadParameter as error:
        raise ConfigError(f"{path}: {where}: {error.message}") from None


def _expected(option: Option) -> str:
    return {
        "N": 'a whole number or "off"',
        "TIME": 'a number or "off"',
        "DOLLARS": 'a number or "off"',
    }.get(option.type.name, "a string")


def _object(path: Path, where: str, value: Any, expected: str = "an object") -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {where}: expected {expected}, found {_kind(value)}")
    return value


def _keys(path: Path, where: str, found: Iterable[str], known: Iterable[str]) -> None:
    for key in found:
        if key not in (every := list(known)):
            name = f"{where}.{key}" if where else key
            raise ConfigError(
                f"{path}: {name}: unknown key{_meant(key, every)}; expected {', '.join(sorted(every))}"
            )


def _meant(word: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        int: "a number",
        float: "a number",
        type(None): "null",
    }
    return names.get(type(value), type(value).__name__)
