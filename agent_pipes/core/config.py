"""Config file `.agent-watch.json`: its keys are those that the filters' options declare."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from agent_pipes.core.options import Option
from agent_pipes.core.steps import StepList, flatten_steps
from agent_pipes.core.strict_json import StrictJSON, did_you_mean

DEFAULT_CONFIG = Path(".agent-watch.json")

EXAMPLE = '{"watchers": {"cost": {"max_dollars": 5}}}'

_EXPECTED = {
    "N": 'a whole number or "off"',
    "TIME": 'a number or "off"',
    "DOLLARS": 'a number or "off"',
}
"""Expected value by the name of the option's type; a string for other types."""


class ConfigError(click.UsageError):
    """A config file that cannot be used. The message names file and key."""


def load(
    path: Path, options: Iterable[Option], watchers: Iterable[str]
) -> tuple[dict[str, Any], set[str]]:
    """Return the values by the options' keys and in their units, and the watchers set to false.

    Raises ConfigError, which names the file, the key, what was expected and the nearest known name.
    """
    known = {option.key: option for option in options if option.key}
    names = list(watchers)
    values: dict[str, Any] = {}
    off: set[str] = set()
    file = StrictJSON(path, ConfigError)
    document = file.mapping(
        "",
        file.load(),
        ("watchers", "webhook", "on_violation", "$schema"),
        expected=f"an object such as {EXAMPLE}",
    )
    sections = file.mapping("watchers", document.get("watchers", {}), names)
    for watcher, section in sections.items():
        if section is False:
            off.add(watcher)
        elif section is not True:
            where = f"watchers.{watcher}"
            file.mapping(where, section, expected="an object, true or false")
            values |= _section(file, where, watcher, section, known)
    if "on_violation" in document:
        values["on_violation"] = _steps(file, "on_violation", document["on_violation"])
    webhook = file.mapping("webhook", document.get("webhook", {}))
    values |= _section(file, "webhook", "webhook", webhook, known)
    for name in values.get("webhook.events", ()):
        if name not in names:
            expected = f"{did_you_mean(name, names)}; expected {', '.join(sorted(names))}"
            file.fail("webhook.events", f"unknown watcher {name!r}{expected}")
    return values, off


def _section(
    file: StrictJSON, where: str, prefix: str, section: dict[str, Any], known: dict[str, Option]
) -> dict[str, Any]:
    """Return the values of one object of the file, by the options' keys."""
    keys = {
        key.removeprefix(f"{prefix}."): option
        for key, option in known.items()
        if key.startswith(f"{prefix}.")
    }
    former = {
        option.old_key.removeprefix(f"{prefix}."): option
        for option in keys.values()
        if option.old_key.startswith(f"{prefix}.")
    }
    file.known_keys(where, [key for key in section if key not in former], keys)
    options = former | keys
    return {
        options[key].key: _value(file, f"{where}.{key}", options[key], value)
        for key, value in section.items()
    }


def _value(file: StrictJSON, where: str, option: Option, value: Any) -> Any:
    """Return the value, converted to the option's type and unit."""
    if option.multiple:
        texts = file.strings(
            where, [value] if isinstance(value, str) else value, "a string or a list of strings"
        )
        return tuple(_convert(file, where, option, each) for each in texts)
    expected = _EXPECTED.get(option.type.name, "a string")
    if isinstance(value, bool) and option.is_flag:
        return value
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        file.fail_expected(where, expected, value)
    if not isinstance(value, str):
        if isinstance(value, float) and not math.isfinite(value):
            file.fail(where, f"expected {expected}, found {value}")
        value *= option.unit
        value = int(value) if value == int(value) else value
    return _convert(file, where, option, value)


def _steps(file: StrictJSON, where: str, value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    steps = file.strings(where, texts, "a step or a list of steps: nudge, pause, kill")
    try:
        return flatten_steps(StepList().convert(each, None, None) for each in steps)
    except click.BadParameter as error:
        file.fail(where, error.message)


def _convert(file: StrictJSON, where: str, option: Option, value: Any) -> Any:
    try:
        return option.type.convert(value, option, None)
    except click.BadParameter as error:
        file.fail(where, error.message)
