"""agent-strace doctor: check whether a breaker would work here, and print why not."""

import json
import os
import textwrap
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import click

from agent_pipes.checks import Check
from agent_pipes.core.display import INDENT, escape, terminal_size
from agent_pipes.core.filter import Command, version_option

WIDE = 60
"""Width in columns from which findings have a column of their own, which costs a third of 60."""


COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def examined() -> Iterator[Check]:
    """Yield the findings of all checks, one check after the other.

    A check that fails is a problem, and the others still run.
    """
    from agent_pipes.agents.base import Session
    from agent_pipes.agents.registry import agent
    from agent_pipes.agents.store import sessions as store_sessions
    from agent_pipes.checks import agents, machine, settings
    from agent_pipes.checks.self_test import self_test
    from agent_pipes.sessions import discovery

    sessions: list[Session] = []
    try:
        sessions = discovery.sessions()
    except OSError as error:
        yield Check("sessions", "problem", f"cannot be listed: {error}")
    limits = settings.Limits()
    homes = [home for name in agents.CLIENTS for home in agents.homes_of(agent(name))]
    directories = [*filter(os.path.isdir, [*homes, *store_sessions.stores()]), Path.cwd()]
    checks: dict[str, Callable[[], Iterator[Check]]] = {
        "versions": machine.versions,
        "PATH": machine.installed,
        "kill": machine.kill,
        "processes": machine.processes,
        "following": partial(machine.following, directories),
        "agent": partial(agents.agents, sessions),
        "live": partial(agents.live, sessions),
        "config": partial(settings.limits, limits),
        "policy": partial(settings.scope, limits),
        "store": partial(settings.traces, sessions),
        "hooks": settings.hooks,
        "prices": partial(settings.prices, sessions, limits),
        "webhook": lambda: machine.webhook(settings.has_webhook(limits)),
        "terminal": machine.terminal,
        "self-test": self_test,
    }
    for name, check in checks.items():
        try:
            yield from check()
        except Exception as error:
            yield Check(name, "problem", f"this check failed: {type(error).__name__}: {error}")


def lines(checks: Iterable[Check], width: int) -> Iterator[str]:
    """Yield the findings in columns, wrapped to `width`."""
    for each in checks:
        head = f"{each.status:8} {each.check:10} "
        column = len(head) if width >= WIDE else len(INDENT)
        # Unlike a message, a finding has no command to be copied: a long path is broken, too.
        first, *rest = textwrap.wrap(
            head + escape(each.said),
            width - 1,
            subsequent_indent=" " * column,
            break_on_hyphens=False,
        )
        yield click.style(first[: len(head)], fg=COLOURS[each.status]) + first[len(head) :]
        yield from rest


def summary(checks: list[Check]) -> str:
    problems, warnings = (
        sum(each.status == status for each in checks) for status in ("problem", "warning")
    )
    return ", ".join(
        f"{number or 'no'} {what}{'' if number == 1 else 's'}"
        for number, what in ((problems, "problem"), (warnings, "warning"))
    )


@click.command("doctor", cls=Command)
@click.option(
    "--json",
    "objects",
    is_flag=True,
    help="Print one JSON object per check instead of the table.",
)
def doctor(objects: bool) -> int:
    """Check whether a breaker would work here, and list what was found.

    The checks cover agents, their sessions, whether a kill would reach the live ones, config,
    policy, hooks, prices and the terminal. In the last check, watch must kill a stand-in agent.
    Nothing is changed, and no real agent is started. Exits with 1 if there is a problem.
    """
    checks = []
    terminal = os.isatty(1)
    width = terminal_size(1)[0] if terminal else 1 << 16
    for check in examined():
        checks.append(check)
        if objects:
            # In ASCII: it contains text of others, and may be printed on a terminal.
            click.echo(
                json.dumps(
                    {"check": check.check, "status": check.status, "said": check.said, **check.more}
                )
            )
        else:
            for line in lines([check], width):
                click.echo(line, color=terminal and not os.environ.get("NO_COLOR"))
    if not objects:
        click.echo(summary(checks))
    return 1 if any(each.status == "problem" for each in checks) else 0


doctor.params.append(version_option())
