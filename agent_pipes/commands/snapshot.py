"""trace-snapshot: commit the work tree at the session's start and at a violation."""

from collections.abc import Iterable

import click

from agent_pipes.core.event import Event
from agent_pipes.core.filter import Events, filter_command


@filter_command("trace-snapshot")
@click.option(
    "--at",
    type=click.Choice(["start", "violation"]),
    multiple=True,
    default=("start", "violation"),
    help="When to take a snapshot; repeatable.  [default: both]",
)
def snapshot(events: Iterable[Event], at: tuple[str, ...]) -> Events:
    """Commit the work tree under a ref of its own, at the session's start and at each violation.

    Untracked files are included, ignored ones are not; the index, the stash and HEAD stay as they
    are. Events pass on at once: a snapshot delays no kill.
    """
    from agent_pipes.commands.snapshot_taker import Snapshots

    snapshots = Snapshots(at)
    for event in events:
        snapshots.see(event)
        yield event
        yield from snapshots.taken()
    snapshots.finish()
    yield from snapshots.taken()
    return None


main = snapshot.main
