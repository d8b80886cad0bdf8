"""The pipeline of watch, which backtest tries on the past: flags over config file over defaults."""

import os
from pathlib import Path
from typing import Any

import click

from agent_pipes.alert import options as alert_options
from agent_pipes.commands.alert import alert, default_sinks, start_queues
from agent_pipes.commands.cost import cost
from agent_pipes.commands.kill import Aftermath, kill
from agent_pipes.commands.nudge import nudge
from agent_pipes.commands.status import LIMIT_TYPES, Limit, status
from agent_pipes.commands.tail import tail
from agent_pipes.core.config import DEFAULT_CONFIG
from agent_pipes.core.config_monitor import ConfigMonitor, readable_by_others, writable_by_others
from agent_pipes.core.digests import blake2b
from agent_pipes.core.display import format_limit
from agent_pipes.core.filter import Filter
from agent_pipes.core.options import Option
from agent_pipes.core.runtime_dir import state_dir
from agent_pipes.core.stderr import warn
from agent_pipes.core.steps import flatten_steps
from agent_pipes.detect.configuration import DEFAULT_POLICY, load_config
from agent_pipes.detect.detector import Part
from agent_pipes.detect.registry import DETECTORS
from agent_pipes.detect.scope import detect_scope

FILTERS: tuple[Filter, ...] = (cost, *DETECTORS.values(), kill, alert, status)
"""The filters whose options are flags of watch."""


ON_REQUEST = tuple(each for each in DETECTORS.values() if each.on_request)
"""Detectors that are off without an option of theirs."""


config_option = click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The config file.  [default: .agent-watch.json, if it exists]",
)


def judging_options() -> list[click.Option]:
    """Return the options that decide what is raised, without those of sinks and of output."""
    kinds = ("Limits", "Prices")
    return [option for option in preset_options() if group_of_flag(option.flag) in kinds]


def preset_options() -> list[Option]:
    """Return the filters' options that have a flag in watch, under that flag."""
    return [
        Option(
            [option.flag, *option.old, _parameter(option)],
            flag=option.flag,
            old=option.old,
            type=option.type,
            multiple=option.multiple,
            is_flag=option.is_flag,
            default=None,
            envvar=option.envvar,
            metavar=option.metavar,
            help=f"{option.help}  [default: {'off' if part in ON_REQUEST else option.default}]"
            if option.show_default
            else option.help,
        )
        for part in FILTERS
        for option in part.options
        if option.flag
    ]


def _parameter(option: Option) -> str:
    """Return the name of the flag's parameter, which differs from those of watch itself."""
    return "option_" + option.flag.strip("-").replace("-", "_")


def group_of_flag(flag: str) -> str:
    """Return the group of the help that a filter's flag belongs to, "" if it is none's."""
    groups: dict[str, tuple[Filter, ...]] = {
        "Limits": tuple(DETECTORS.values()),
        "Actions": (kill, alert),
        "Prices": (cost,),
        "Output": (status,),
    }
    prices = {option.flag for option in cost.options}
    for name, parts in groups.items():
        for part in parts:
            if any(option.flag == flag for option in part.options):
                return "Prices" if flag in prices else name
    return ""


def option_of(part: Filter, name: str) -> Option:
    """Return the option of a filter whose value it takes as `name`."""
    return next(option for option in part.options if option.name == name)


class Preset:
    """The filters of a watch, with their options.

    off:     the watchers that are turned off.
    sinks:   sinks of the violations that are bound to none.
    actions: sinks and `kill` that each watcher's violations are bound to; empty for all downstream.
    steps:   steps of each watcher that has some of its own.
    kills:   a trace-kill is among the filters.
    """

    def __init__(
        self,
        flags: dict[str, Any],
        values: dict[str, Any],
        off: set[str],
        *,
        steps: tuple[str, ...] | None = None,
        strict: bool = False,
    ) -> None:
        """Take `values` and `off` from the config file; `steps` None if no flag decides them."""
        kills = None if steps is None else steps == ("kill",)
        self.flags = flags
        self.file_values = values
        self.off = off
        self.off |= {
            watcher
            for watcher, detector in DETECTORS.items()
            if detector.on_request and not self.values(detector)
        }
        sinks: tuple[str, ...] = flags.get("option_alert") or ()
        self.sinks = sinks or default_sinks(
            *(self.value(alert_options.option(name)) for name in ("webhook", "form", "program"))
        )
        self.actions = {
            watcher: self._actions(watcher, bool(sinks), kills) for watcher in DETECTORS
        }
        self.steps = {
            watcher: found for watcher in DETECTORS if (found := self._steps(watcher, steps))
        }
        self.kills = bool(kills) or strict or any("kill" in each for each in self.actions.values())
        self.kills = self.kills or any(set(each) - {"nudge"} for each in self.steps.values())
        if (self.kills or self.steps) and not kills:
            # The trace-kill of one watcher must not act on the violations of another.
            self.actions = {
                watcher: actions or self.sinks for watcher, actions in self.actions.items()
            }

    def _actions(self, watcher: str, sinks_given: bool, kills: bool | None) -> tuple[str, ...]:
        configured: tuple[str, ...] = self.file_values.get(f"{watcher}.alert", ())
        if not configured:
            return ()
        ends = "kill" in configured if kills is None else kills
        named = tuple(each for each in configured if each != "kill")
        sinks = self.sinks if sinks_given else named
        return (*sinks, "kill") if ends else sinks or self.sinks

    def _steps(self, watcher: str, given: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return the steps of a watcher, but for a plain kill, which is one of its actions."""
        if given is not None:
            return () if given == ("kill",) else given
        if f"{watcher}.on_violation" in self.file_values:
            return flatten_steps(self.file_values[f"{watcher}.on_violation"])
        if "kill" in self.file_values.get(f"{watcher}.alert", ()):
            return ()
        return tuple(self.file_values.get("on_violation", ()))

    def value(self, option: Option) -> Any:
        """Return the option's value from its flag, else from the file, None if neither has it."""
        flag = self.flags.get(_parameter(option)) if option.flag else None
        if not (flag is None or flag is False or flag == ()):
            return flag
        return self.file_values.get(option.key) if option.key else None

    def values(self, part: Filter) -> dict[str, Any]:
        """Return the values of a filter's options that are not the default."""
        found = {
            str(option.name): self.value(option)
            for option in part.options
            if not option.key.endswith((".alert", ".on_violation"))
        }
        return {name: value for name, value in found.items() if value is not None}

    def check_programs(self) -> None:
        """Raise click.UsageError if an alert could not be sent, or a program not be run."""
        values = self.values(alert)
        sinks = {*self.sinks, *(sink for each in self.actions.values() for sink in each)}
        start_queues(
            sinks,
            values.get("webhook"),
            values.get("form"),
            program=values.get("program"),
            program_option="--alert-exec",
        )
        Aftermath(self.values(kill).get("then"))

    def _limits(self) -> tuple[Limit, ...]:
        """Return the limits whose nearness the live line shows."""
        limits = self.main_limits()
        return tuple(
            Limit(watcher, limits[watcher]) for watcher in LIMIT_TYPES if limits.get(watcher)
        )

    def main_limits(self) -> dict[str, float]:
        """Return the main limit of each detector that runs."""
        found: dict[str, float] = {}
        for name, part in DETECTORS.items():
            for option in part.options:
                if name not in self.off and option.name == "max":
                    value = self.value(option)
                    found[name] = option.fallback if value is None else value
        return found

    def note_limits(self) -> None:
        """Write once for this directory by which limits the watch judges, and what follows."""
        limits = (
            f"{name} {format_limit(name, limit)}"
            for name, limit in self.main_limits().items()
            if limit
        )
        action = "is only reported; --on-violation kill also kills the agent"
        if self.steps:
            action = "takes the steps that --on-violation or the config names"
        elif self.kills:
            action = "kills the agent, unless the config names other actions"
        note_once(f"limits: {', '.join(limits)}; a violation {action}")

    def parts(self, source: dict[str, Any]) -> list[Part]:
        """Return the filters in order, from trace-tail with the options `source`."""
        detectors = [
            (
                detector,
                self.values(detector)
                | {"alert": self.actions[watcher]}
                | ({"steps": self.steps[watcher]} if watcher in self.steps else {}),
            )
            for watcher, detector in DETECTORS.items()
            if watcher not in self.off
        ]
        nudges = any("nudge" in steps for steps in self.steps.values())
        nudger: list[Part] = [(nudge, {})] if nudges else []
        # trace-alert has printed the cause already.
        killer: list[Part] = []
        if self.kills:
            killer = [(kill, self.values(kill) | {"shows_cause": False})]
        alerts = self.values(alert) | {"to": self.sinks, "kills": self.kills, "holds": self.kills}
        return [
            (tail, source),
            (cost, self.values(cost)),
            *detectors,
            *nudger,
            *killer,
            (alert, alerts),
            (status, self.values(status) | {"limits": self._limits(), "kills": self.kills}),
        ]


def explain(parts: list[Part], command: tuple[str, ...]) -> str:
    """Return the pipeline as a shell command, without the webhook's URL, which is a secret."""
    import shlex

    lines = []
    for part, values in parts:
        shown = {name: value for name, value in values.items() if name != "webhook"}
        line = shlex.join(part.command_line(**shown))
        lines.append(line + ' --webhook "$AGENT_PIPES_WEBHOOK"' if values.get("webhook") else line)
    text = " |\n  ".join(lines)
    return f"# beside: {shlex.join(command)}\n{text}" if command else text


def read_config(path: Path | None, monitor: ConfigMonitor) -> tuple[dict[str, Any], set[str]]:
    """Return the values of the config file, by default this directory's, and the watchers off."""
    if path is None and not DEFAULT_CONFIG.exists():
        return {}, set()
    path = path or DEFAULT_CONFIG
    monitor.add(path)
    found = load_config(path)
    off = f"; turned off: {', '.join(sorted(found[1]))}" if found[1] else ""
    warn(f"Limits from {path}{off}")
    if writable_by_others(path):
        warn(f"warning: other users can edit {path}; chmod go-w {path}")
    if "webhook.url" in found[0] and readable_by_others(path):
        warn(
            f"warning: {path} contains the webhook's URL and can be read by other users; "
            f"chmod 600 {path}, or set $AGENT_PIPES_WEBHOOK instead"
        )
    return found


def note_once(text: str) -> None:
    """Write a message once for this directory; a file in the user's state directory marks it."""
    name = blake2b(f"{os.getcwd()}\0{text}".encode(errors="replace"), digest_size=16).hexdigest()
    mark = state_dir() / "noted" / name
    try:
        mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    except OSError:
        pass  # A message too many does no harm.
    warn(text)


def find_policy(preset: Preset, monitor: ConfigMonitor) -> None:
    """Turn scope off if there is no policy; one that is named must exist."""
    if "scope" in preset.off:
        return
    policy = preset.value(option_of(detect_scope, "policy"))
    if policy and not os.path.lexists(policy):
        from agent_pipes.scope.policy_file import NO_POLICY

        hint = '("scope": false in a config turns scope off)'
        raise click.UsageError(f"{policy}: {NO_POLICY} {hint}")
    if policy or DEFAULT_POLICY.exists():
        monitor.add(Path(policy or DEFAULT_POLICY))
    else:
        preset.off.add("scope")
        note_once(f"no {DEFAULT_POLICY} here: scope is not watched; see trace-detect-scope(1)")
