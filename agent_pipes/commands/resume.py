"""agent-strace resume: continue an agent that a breaker has paused, with new limits."""

import math
import os
import signal as signals
import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from agent_pipes.commands.completion import complete_session
from agent_pipes.core.display import format_limit
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import Command, version_option
from agent_pipes.core.options import COUNT, Option
from agent_pipes.core.resumption import Resumption, allow
from agent_pipes.core.stderr import set_prefix, warn, write_line
from agent_pipes.detect.registry import DETECTORS

if TYPE_CHECKING:
    from agent_pipes.process.handle import ProcessHandle
    from agent_pipes.process.pause_record import PauseRecord


class Raise(click.ParamType):  # type: ignore[type-arg]
    """New limit (`15`) or an addition to the present one (`+5`), in an option's own unit."""

    def __init__(self, option: Option) -> None:
        self.name = f"[+]{option.type.name}"
        self.option = option

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[bool, float]:
        """Return whether it is an addition, and the amount."""
        text = str(value)
        amount = self.option.type.convert(text.removeprefix("+"), param, ctx)
        return text.startswith("+"), float(amount)


def limit_options() -> dict[str, Option]:
    """Return the main limit of each detector that has one in `watch`, by watcher."""
    found = {}
    for watcher, detector in DETECTORS.items():
        for option in detector.options:
            if option.name == "max" and option.flag:
                found[watcher] = option
    return found


def _flags() -> list[click.Option]:
    return [
        click.Option(
            [option.flag, f"limit_{watcher}"],
            type=Raise(option),
            metavar=f"[+]{option.type.name.upper()}",
            help=f"New limit of the {watcher} watcher; with +, added to the present one.",
        )
        for watcher, option in limit_options().items()
    ]


@click.command("resume", cls=Command)
@click.argument("session", required=False, shell_complete=complete_session)
@click.option("--kill", "kills", is_flag=True, help="Kill the agent instead of continuing it.")
@click.option(
    "--ignore", "ignores", is_flag=True, help="Keep the limits, but ignore the present violations."
)
def resume(session: str | None, kills: bool, ignores: bool, **limits: Any) -> int:
    """Continue a paused agent, with the limit raised by half or to the value of an option.

    SESSION is the beginning of a session's id; it can be left out if one agent is paused. The watch
    that paused the agent goes on with the new limits; if it has exited, this command becomes a
    watch of the session.
    """
    set_prefix("[resume] ")
    record = _chosen(session)
    handle = _open(record)
    try:
        if kills:
            return _kill(record, handle)
        allowance = _allowance(record, limits, ignores)
        try:
            allow(record.session, record.pid, record.started, allowance)
        except OSError as error:
            raise click.ClickException(f"the new limits cannot be written: {error}") from None
        return _continue(record, handle, allowance)
    finally:
        handle.close()


resume.params += [*_flags(), version_option()]


def _chosen(session: str | None) -> "PauseRecord":
    from agent_pipes.process.pause_record import paused_agents

    paused = paused_agents()
    found = [each for each in paused if each.session.startswith(session or "")]
    if len(found) == 1:
        return found[0]
    if not paused:
        raise click.UsageError("no agent is paused on this machine")
    names = ", ".join(each.session for each in paused[:5])
    if not found:
        raise click.UsageError(f"{session}: not a paused session; paused: {names}")
    raise click.UsageError(f"{len(found)} agents are paused; name one: {names}")


def _open(record: "PauseRecord") -> "ProcessHandle":
    from agent_pipes.process.handle import NotPermitted, ProcessHandle

    try:
        return ProcessHandle(record.agent, allowed=record.agent)
    except NotPermitted as reason:
        raise click.ClickException(f"session {record.session}: {reason}") from None


def _marker(record: "PauseRecord") -> tuple[str, str] | None:
    name, _, value = record.marker.partition("=")
    return (name, value) if value else None


def _kill(record: "PauseRecord", handle: "ProcessHandle") -> int:
    from agent_pipes.process.terminator import Terminator

    with suppress(OSError):
        # The breaker that paused it must not take it for continued.
        replace(record, kills=True).write()
    outcome = Terminator(handle, marker=_marker(record)).finish()
    record.remove()
    if outcome.outcome == "failed":
        warn(f"could NOT kill process {record.pid}: {outcome.reason}")
        return ExitStatus.NOT_KILLED
    write_line(outcome.reason)
    return ExitStatus.OK


def _allowance(record: "PauseRecord", limits: dict[str, Any], ignores: bool) -> Resumption:
    """Return the new limits: the given ones, else half of the limit that was exceeded is added."""
    watchers = {
        name.removeprefix("limit_"): value for name, value in limits.items() if value is not None
    }
    new = {}
    for watcher, (adds, amount) in watchers.items():
        if adds and watcher != record.watcher:
            flag = limit_options()[watcher].flag
            raise click.UsageError(
                f"{flag} +N: only the limit that was exceeded, that of the {record.watcher} "
                "watcher, can be added to; give this one without a +"
            )
        # Beyond the limit by far, an addition to the limit would leave the agent over it.
        new[watcher] = max(record.limit, record.amount) + amount if adds else amount
    if not watchers and not ignores and record.limit:
        limit = max(record.limit, record.amount) + record.limit / 2
        option = limit_options().get(record.watcher)
        new[record.watcher] = math.ceil(limit) if option and option.type is COUNT else limit
    return Resumption(new, (record.watcher,) if ignores else ())


def _continue(record: "PauseRecord", handle: "ProcessHandle", allowance: Resumption) -> int:
    from agent_pipes.process.pauser import Pauser
    from agent_pipes.process.table import alive

    watched = alive(record.breaker)
    outcome = Pauser(handle, signal=signals.SIGCONT, marker=_marker(record)).finish()
    if outcome.outcome != "continued":
        record.remove()
        warn(f"could NOT continue process {record.pid}: {outcome.reason}")
        return ExitStatus.NOT_KILLED
    record.remove()
    write_line(outcome.reason)
    for watcher, limit in allowance.limits.items():
        shown = format_limit(watcher, limit)
        write_line(f"new limit of the {watcher} watcher: {shown}{_sum(record, watcher, limit)}")
    for watcher in allowance.ignored:
        write_line(f"violations of the {watcher} watcher are ignored for the rest of the run")
    if not watched:
        _watch(record)
    return ExitStatus.OK


def _sum(record: "PauseRecord", watcher: str, limit: float) -> str:
    """Return how a limit that was added to comes about: ` ($0.046 so far + $0.02)`."""
    base = max(record.limit, record.amount)
    if watcher != record.watcher or limit <= base:
        return ""
    what = "so far" if record.amount > record.limit else "the limit"
    added = format_limit(watcher, limit - base)
    return f" ({format_limit(watcher, base)} {what} + {added})"


def _watch(record: "PauseRecord") -> None:
    """Become the watch of the session: the breaker that paused it has exited."""
    arguments = watch_arguments(record)
    write_line(f"the breaker has exited; watching {record.session} from here on")
    sys.stderr.flush()
    program = os.path.abspath(sys.argv[0])
    if os.path.isdir(record.cwd):
        os.chdir(record.cwd)
    os.execv(sys.executable, [sys.executable, program, *arguments])


def watch_arguments(record: "PauseRecord") -> list[str]:
    """Return the arguments of a watch of the session, with the options of the one that paused it.

    A breaker that was no `watch`, such as a trace-kill in a pipeline, leaves a plain watch.
    """
    words = list(record.command[1:])
    if words[:1] != ["watch"]:
        return ["watch", "--on-violation", "pause", record.session]
    from agent_pipes.commands.watch import watch

    words = words[1 : words.index("--") if "--" in words else None]
    context = click.Context(watch, resilient_parsing=True)
    given = click.Command.make_parser(watch, context).parse_args(list(words))[0].get("session")
    if given in words:
        del words[len(words) - 1 - words[::-1].index(given)]
    return ["watch", *(word for word in words if word != "--all"), record.session]
