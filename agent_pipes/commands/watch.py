"""agent-strace watch: the filters of a breaker, put together in one process."""

import os
from pathlib import Path
from typing import Any

import click

from agent_pipes.commands.completion import COMMAND_FOLLOWS, complete_session
from agent_pipes.commands.preset import (
    Preset,
    explain,
    find_policy,
    preset_options,
    read_config,
)
from agent_pipes.commands.tail import tail
from agent_pipes.core.config_monitor import ConfigMonitor, monitor_config
from agent_pipes.core.filter import Command, run_pipeline, version_option
from agent_pipes.core.stderr import set_prefix
from agent_pipes.core.steps import OnViolation
from agent_pipes.core.stream import Waiter
from agent_pipes.detect.detector import Part, in_one_stage


class Watch(Command):
    """`watch [OPTIONS] [SESSION] [-- COMMAND…]`: the words after the first `--` are the command."""

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
    type=OnViolation(),
    help="What to do to the agent when a limit is exceeded: alert, which only reports it, or steps "
    "that are taken one after the other, such as nudge,pause,kill.  [default: alert]",
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
    on_violation: tuple[str, ...] | None,
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
    values, off = read_config(config_file, monitor)
    preset = Preset(flags, values, off, steps=on_violation, strict=strict)
    find_policy(preset, monitor)
    source: dict[str, Any] = {
        "session": session,
        "every": every,
        "no_follow": no_follow,
        "pid": pid,
    }
    source["wait"] = session is None and not (no_follow or every)
    if command and (session or every or no_follow or pid):
        raise click.UsageError(
            "COMMAND brings its own session and process: "
            "SESSION, --all, --no-follow and --pid do not go with it"
        )
    if every and preset.kills and pid:
        raise click.UsageError("--pid is one session's process, and --all follows many")
    parts = preset.parts(source)
    if explained:
        click.echo(explain(parts, command))
        return 0
    preset.check_alerts()
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
                [(tail, {"child": child}), *parts[1:]], waiter, output, False, strict, exit_status
            ),
        )
    return _run(parts, waiter, output, not os.isatty(1), strict, exit_status)


def _run(
    parts: list[Part],
    waiter: Waiter,
    output: Path | None,
    to_stdout: bool,
    strict: bool,
    exit_status: bool,
) -> int:
    """Run the filters; events are appended to `output`, else go to stdout if they may."""
    fd = 1 if to_stdout else None
    if output:
        fd = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stages = in_one_stage(parts, strict=strict)
    return run_pipeline(stages, exit_status=exit_status, fd=fd, waiter=waiter)


watch.params += [*preset_options(), version_option()]
