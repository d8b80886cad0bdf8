"""agent-strace watch: the breaker that most people want, made of the same filters, in one process."""

import os
import shlex
from pathlib import Path
from typing import Any

import click

from agent_pipes.alert import options as alert_options
from agent_pipes.commands.alert import alert, default_sinks, start_queues
from agent_pipes.commands.completion import COMMAND_FOLLOWS, complete_session
from agent_pipes.commands.cost import cost
from agent_pipes.commands.kill import kill
from agent_pipes.commands.status import status
from agent_pipes.commands.tail import tail
from agent_pipes.core import config
from agent_pipes.core.config_monitor import ConfigMonitor, monitor_config, writable_by_others
from agent_pipes.core.filter import Command, Filter, run_pipeline, version_option
from agent_pipes.core.options import Option
from agent_pipes.core.stderr import set_prefix, warn
from agent_pipes.core.stream import Waiter
from agent_pipes.detect.configuration import DEFAULT_POLICY as POLICY
from agent_pipes.detect.configuration import load_config
from agent_pipes.detect.detector import Part, in_one_stage
from agent_pipes.detect.registry import DETECTORS
from agent_pipes.detect.scope import detect_scope

PRESET = (cost, *DETECTORS.values(), kill, alert, status)


def preset_options() -> list[Option]:
    return [option for part in PRESET for option in part.options]


def watch_options() -> list[click.Option]:
    """The filters' options that have a flag here, under that flag, with the filter's own type, default and help."""
    return [
        click.Option(
            [option.flag, _name(option)],
            type=option.type,
            multiple=option.multiple,
            is_flag=option.is_flag,
            default=None,
            envvar=option.envvar,
            metavar=option.metavar,
            help=f"{option.help}  [default: {option.default}]"
            if option.show_default
            else option.help,
        )
        for option in preset_options()
        if option.flag
    ]


def _name(option: Option) -> str:
    return "option_" + option.flag.strip("-").replace("-", "_")


class Plan:
    """The pipeline that the flags, the config file and the defaults come to."""

    def __init__(
        self,
        flags: dict[str, Any],
        file: dict[str, Any],
        off: set[str],
        *,
        kills: bool | None,
        strict: bool = False,
    ) -> None:
        self.flags = flags
        self.file = file
        self.off = off
        sinks: tuple[str, ...] = flags.get("option_alert") or ()
        self.sinks = sinks or default_sinks(
            *(self.value(alert_options.option(name)) for name in ("webhook", "form", "program"))
        )
        self.acts = {watcher: self.actions(watcher, bool(sinks), kills) for watcher in DETECTORS}
        self.kills = bool(kills) or strict or any("kill" in acts for acts in self.acts.values())
        if self.kills and not kills:
            # A trace-kill stands in the pipeline for some, or for failures: what is bound to nothing must not reach it.
            self.acts = {watcher: acts or self.sinks for watcher, acts in self.acts.items()}

    def actions(self, watcher: str, sinks_given: bool, kills: bool | None) -> tuple[str, ...]:
        """What this watcher's violations are bound to; nothing: they go to all that stand downstream."""
        filed: tuple[str, ...] = self.file.get(f"{watcher}.alert", ())
        if not filed:
            return ()
        stops = "kill" in filed if kills is None else kills
        tells = self.sinks if sinks_given else tuple(each for each in filed if each != "kill")
        return (*tells, "kill") if stops else tells or self.sinks

    def value(self, option: Option) -> Any:
        """The option's value: flag over file over default (None)."""
        flag = self.flags.get(_name(option)) if option.flag else None
        if not (flag is None or flag is False or flag == ()):
            return flag
        return self.file.get(option.key) if option.key else None

    def values(self, part: Filter) -> dict[str, Any]:
        found = {
            option.name: self.value(option)
            for option in part.options
            if not option.key.endswith(".alert")
        }
        return {str(name): value for name, value in found.items() if value is not None}

    def check_alerts(self) -> None:
        """Whoever is to be told can be: an alert that cannot be sent is found before anything runs. Raises click.UsageError."""
        told = self.values(alert)
        sinks = {*self.sinks, *(sink for acts in self.acts.values() for sink in acts)}
        start_queues(sinks, told.get("webhook"), told.get("form"), program=told.get("program"))

    def parts(self, source: dict[str, Any]) -> list[Part]:
        """The filters and their options, from the source on."""
        parts: list[Part] = [(tail, source), (cost, self.values(cost))]
        for watcher, part in DETECTORS.items():
            if watcher not in self.off:
                parts.append((part, self.values(part) | {"alert": self.acts[watcher]}))
        if self.kills:
            parts.append((kill, self.values(kill)))
        told = self.values(alert) | {"to": self.sinks, "kills": self.kills}
        return [*parts, (alert, told), (status, self.values(status))]


def _option(part: Filter, name: str) -> Option:
    return next(option for option in part.options if option.name == name)


def explain(parts: list[Part], command: tuple[str, ...]) -> str:
    """The pipeline in the shell's words. A webhook's URL is a secret and stays in its variable."""
    lines = []
    for part, values in parts:
        shown = {name: value for name, value in values.items() if name != "webhook"}
        words = shlex.join(part.command_line(**shown))
        lines.append(
            words + ' --webhook "$AGENT_PIPES_WEBHOOK"' if values.get("webhook") else words
        )
    text = " |\n  ".join(lines)
    return f"# beside: {shlex.join(command)}\n{text}" if command else text


class Watch(Command):
    """`watch [OPTIONS] [SESSION] [-- COMMAND…]`: what stands behind the first `--` is the command, whatever it looks like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.obj = ()
        ctx.meta[COMMAND_FOLLOWS] = "--" in args
        if "--" in args:
            at = args.index("--")
            ctx.obj, args = tuple(args[at + 1 :]), args[:at]
            if not ctx.obj and not ctx.resilient_parsing:
                raise click.UsageError("a command is expected behind '--'", ctx)
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[OPTIONS]", "[SESSION]", "[-- COMMAND...]"]


@click.command("watch", cls=Watch, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("session", required=False, shell_complete=complete_session)
@click.option(
    "--on-violation",
    type=click.Choice(["alert", "kill"]),
    help="What becomes of the agent on a violation.  [default: alert]",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="The config file.  [default: .agent-watch.json, if it is there]",
)
@click.option(
    "--explain",
    "explained",
    is_flag=True,
    help="Print the pipeline in the shell's words, and exit.",
)
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Follow every live session of this machine, and each new one.",
)
@click.option("--no-follow", is_flag=True, help="Judge what stands in the session now, and end.")
@click.option("--pid", type=int, help="The agent's process, where it cannot be found out.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append the events here. [default: stdout, unless it is a terminal or COMMAND's]",
)
@click.option("--strict", is_flag=True, help="End the agent, too, when a watcher fails.")
@click.option(
    "-e", "--exit-status", "exit_status", is_flag=True, help="Exit with 1 if a violation was seen."
)
@click.pass_obj
def watch(
    command: tuple[str, ...],
    /,
    session: str | None,
    on_violation: str | None,
    config_file: Path | None,
    explained: bool,
    every: bool,
    no_follow: bool,
    pid: int | None,
    output: Path | None,
    strict: bool,
    exit_status: bool,
    **flags: Any,
) -> int:
    """Watch an agent's session, tell of every limit that is passed, and end the agent if asked to.

    Without SESSION the live one of this directory, or the next. With COMMAND the agent is started here, watched, and
    its exit status passed on, or 124 when the breaker has ended it.
    """
    set_prefix("[watch] ")
    monitor = ConfigMonitor()
    file, off = configured(config_file, monitor)
    plan = Plan(
        flags,
        file,
        off,
        kills=None if on_violation is None else on_violation == "kill",
        strict=strict,
    )
    scoped(plan, monitor)
    source: dict[str, Any] = {
        "session": session,
        "every": every,
        "no_follow": no_follow,
        "pid": pid,
    }
    source["wait"] = session is None and not (no_follow or every)
    if command and (session or every or no_follow or pid):
        raise click.UsageError(
            "COMMAND brings its own session and process: SESSION, --all, --no-follow and --pid do not go with it"
        )
    if every and plan.kills and pid:
        raise click.UsageError("--pid is one session's process, and --all follows many")
    parts = plan.parts(source)
    if explained:
        click.echo(explain(parts, command))
        return 0
    plan.check_alerts()
    monitor.warn_of_writable()
    if not no_follow:
        parts.insert(1, (monitor_config, {"monitor": monitor}))
    waiter = Waiter()
    if command:
        from agent_pipes.commands.run_child import run_command

        return run_command(
            command,
            waiter,
            lambda child: _run(
                [(tail, {"child": child}), *parts[1:]], waiter, output, True, strict, exit_status
            ),
        )
    return _run(parts, waiter, output, os.isatty(1), strict, exit_status)


def _run(
    parts: list[Part],
    waiter: Waiter,
    output: Path | None,
    silent: bool,
    strict: bool,
    exit_status: bool,
) -> int:
    fd = None if silent else 1
    if output:
        fd = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    parts = in_one_stage(parts, strict=strict)
    return run_pipeline(parts, exit_status=exit_status, fd=fd, waiter=waiter)


def configured(path: Path | None, monitor: ConfigMonitor) -> tuple[dict[str, Any], set[str]]:
    if path is None and not config.DEFAULT_CONFIG.exists():
        return {}, set()
    monitor.add(path or config.DEFAULT_CONFIG)
    found = load_config(path or config.DEFAULT_CONFIG)
    warn(f"Limits from {path or config.DEFAULT_CONFIG}")
    if writable_by_others(path or config.DEFAULT_CONFIG):
        warn(
            f"warning: {path or config.DEFAULT_CONFIG} can be written by other users than its owner, and so can what it allows"
        )
    return found


def scoped(plan: Plan, monitor: ConfigMonitor) -> None:
    """Without a policy there is nothing to hold the agent to; one that was named must be there."""
    if "scope" in plan.off:
        return
    policy = plan.value(_option(detect_scope, "policy"))
    if policy or POLICY.exists():
        monitor.add(Path(policy or POLICY))
    else:
        plan.off.add("scope")
        warn(f"No {POLICY} here: scope is not watched")


watch.params += [*watch_options(), version_option()]
