"""agent-strace watch: the filters of a breaker, put together in one process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from agent_pipes.agents.registry import AGENTS
from agent_pipes.commands.completion import COMMAND_FOLLOWS, complete_session
from agent_pipes.commands.preset import (
    Preset,
    config_option,
    explain,
    find_policy,
    group_of_flag,
    note_once,
    preset_options,
    read_config,
)
from agent_pipes.commands.tail import tail
from agent_pipes.core.config_monitor import ConfigMonitor, monitor_config
from agent_pipes.core.display import unbroken
from agent_pipes.core.filter import Command, run_pipeline, version_option
from agent_pipes.core.installed import advice, older_program
from agent_pipes.core.stderr import set_log, set_prefix
from agent_pipes.core.steps import OnViolation
from agent_pipes.core.stream import Waiter
from agent_pipes.core.usage import message_of
from agent_pipes.detect.detector import in_one_stage

GROUPS = ("Limits", "Actions", "Which session", "Prices", "Output", "Other")

SESSION_OPTIONS = ("--all", "--no-follow", "--pid")
ACTION_OPTIONS = ("--on-violation", "--strict")
LIMIT_OPTIONS = ("--config",)
OUTPUT_OPTIONS = ("--output", "--log", "-e", "--explain", "--every")


def group_of(param: click.Parameter) -> str:
    """Return the group of the help that an option of watch belongs to."""
    name = param.opts[0]
    if name in LIMIT_OPTIONS:
        return "Limits"
    if name in SESSION_OPTIONS:
        return "Which session"
    if name in ACTION_OPTIONS:
        return "Actions"
    if name in OUTPUT_OPTIONS:
        return "Output"
    return group_of_flag(name) or "Other"


def is_program(word: str) -> bool:
    """Return True if `word` is an agent or another program, rather than a session."""
    import shutil

    return not word.startswith("-") and (word in AGENTS or bool(shutil.which(word)))


class Watch(Command):
    """`watch [OPTIONS] [SESSION] [-- COMMAND…]`: the words after the first `--` are the command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Part COMMAND from the options; name the `--` that a command without it lacks."""
        ctx.obj = ()
        ctx.meta[COMMAND_FOLLOWS] = "--" in args
        if "--" in args:
            at = args.index("--")
            ctx.obj, args = tuple(args[at + 1 :]), args[:at]
            if not ctx.obj and not ctx.resilient_parsing:
                raise click.UsageError("a command is expected after '--'", ctx)
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            at = self._first_operand(ctx, given)
            if ctx.obj or at == len(given) or not is_program(given[at]):
                raise
            import shlex

            words = ["agent-strace", "watch", *given[:at], "--", *given[at:]]
            meant = unbroken(shlex.join(words))
            raise click.UsageError(
                f"{message_of(error)}; to start a command: {meant}", ctx
            ) from None

    def _first_operand(self, ctx: click.Context, given: list[str]) -> int:
        """Return the index of the first word that is neither an option nor the value of one."""
        flags = {
            name
            for param in self.get_params(ctx)
            if isinstance(param, click.Option) and param.is_flag
            for name in param.opts
        }
        at = 0
        while at < len(given) and given[at].startswith("-"):
            at += 1 if given[at] in flags or "=" in given[at] else 2
        return min(at, len(given))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in groups."""
        groups: dict[str, list[tuple[str, str]]] = {name: [] for name in GROUPS}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                groups[group_of(param)].append(record)
        for name, records in groups.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[OPTIONS]", "[SESSION]", "[-- COMMAND...]"]


@click.command("watch", cls=Watch)
@click.argument("session", required=False, shell_complete=complete_session)
@click.option(
    "--on-violation",
    type=OnViolation(),
    help="What to do when a limit is exceeded: alert (only report it), or steps to take in turn at "
    "each further violation, such as nudge,pause,kill.  [default: alert]",
)
@config_option
@click.option(
    "--explain",
    "explained",
    is_flag=True,
    help="Print the pipeline as a shell command, then exit.",
)
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Follow all live sessions of this machine, and each new one.",
)
@click.option("--no-follow", is_flag=True, help="Check the session as recorded so far, then exit.")
@click.option("--pid", metavar="PID", type=int, help="PID of the agent, if it cannot be detected.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append events to this file.  [default: stdout, unless it is a terminal or COMMAND's]",
)
@click.option(
    "--log",
    type=click.Path(dir_okay=False),
    help="Also append the messages to this file, at once.",
)
@click.option("--strict", is_flag=True, help="Also kill the agent if a watcher crashes.")
@click.option(
    "-e", "--exit-status", "exit_status", is_flag=True, help="Exit with 1 if a violation was seen."
)
@click.pass_obj
def watch(
    command: tuple[str, ...],
    /,
    session: str | None,
    on_violation: tuple[str, ...] | None,
    config_file: Path | None,
    explained: bool,
    every: bool,
    no_follow: bool,
    pid: int | None,
    output: Path | None,
    log: str | None,
    strict: bool,
    exit_status: bool,
    **flags: Any,
) -> int:
    """Watch an agent's session: report each limit that is exceeded, and on request kill the agent.

    Without SESSION the live sessions of this directory are watched. With COMMAND the agent is
    started and watched; its exit status is returned, or 124 if it was killed. A limit of 'off' or 0
    is not checked.
    """
    given = {session: session, "--all": every, "--no-follow": no_follow, "--pid": pid}
    if command and (refused := [str(name) for name, is_given in given.items() if is_given]):
        raise click.UsageError(
            f"{', '.join(refused)}: not possible with COMMAND, whose own session is watched"
        )
    set_prefix("[watch] ")
    if log:
        with readable_error("--log", log):
            set_log(log)
    monitor = ConfigMonitor()
    values, off = read_config(config_file, monitor)
    preset = Preset(flags, values, off, steps=on_violation, strict=strict)
    if older := older_program():
        note_once(advice(older, os.path.abspath(sys.argv[0])))
    find_policy(preset, monitor)
    source: dict[str, Any] = {
        "session": session,
        "every": every,
        "no_follow": no_follow,
        "pid": pid,
    }
    source["wait"] = session is None and not (no_follow or every)
    if every and preset.kills and pid:
        raise click.UsageError("--pid and --all exclude each other")
    parts = preset.parts(source)
    if explained:
        click.echo(explain(parts, command) + _where(output))
        return 0
    preset.check_programs()
    if not no_follow:
        preset.note_limits()
    monitor.warn_of_writable()
    if not no_follow:
        parts.insert(1, (monitor_config, {"monitor": monitor}))
    fd = None if command or os.isatty(1) else 1
    if output:
        with readable_error("--output", output):
            fd = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    # The detectors read their files here: a command must not start without one of them.
    filters = in_one_stage(parts[1:], strict=strict)
    waiter = Waiter()

    def run(source: dict[str, Any]) -> int:
        from agent_pipes.commands.watch_summary import summarize

        stages = [(tail, source), *filters, (summarize, {})]
        return run_pipeline(stages, exit_status=exit_status, fd=fd, waiter=waiter)

    if command:
        from agent_pipes.commands.run_child import run_command

        return run_command(command, waiter, lambda child: run({"child": child}))
    return run(source)


def _where(output: Path | None) -> str:
    """Return the redirection by which a pipeline prints as much as the watch."""
    import shlex

    if output:
        return f" >>{shlex.quote(str(output))}"
    return " >/dev/null" if os.isatty(1) else ""


@contextmanager
def readable_error(option: str, path: object) -> Iterator[None]:
    """Make a file that cannot be opened a usage error, which names the option."""
    try:
        yield
    except OSError as error:
        raise click.UsageError(f"{option} {path}: {error.strerror}") from None


watch.params += [*preset_options(), version_option()]
