"""agent-strace man: show a man page, also where man(1) does not find it."""

import os
import re
import shutil
import site
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from agent_pipes.commands.subcommands import SUBCOMMANDS
from agent_pipes.core.display import fold, terminal_size
from agent_pipes.core.filter import Command, version_option
from agent_pipes.core.strict_json import did_you_mean

VIEWERS = ("man", "mandoc")


def folders() -> list[Path]:
    """Return the folders that may contain the pages: a checkout's, then an installation's."""
    places = [Path(__file__).resolve().parents[2] / "man"]
    for prefix in (sys.prefix, site.getuserbase()):
        places += [Path(prefix) / "share" / "man" / section for section in ("man1", "man7")]
    return places


def pages() -> dict[str, Path]:
    """Return the suite's man pages by name; the first folder that has a page is used."""
    found: dict[str, Path] = {}
    for folder in folders():
        for path in sorted(folder.glob("*.[17]")):
            if path.stem.startswith(("agent-", "trace-")):
                found.setdefault(path.stem, path)
    return found


def page_of(name: str) -> str:
    """Return the page of a subcommand of agent-strace; other names are those of pages."""
    if name.removeprefix("agent-strace-") not in SUBCOMMANDS:
        return name
    page = f"agent-strace-{name.removeprefix('agent-strace-')}"
    return page if page in pages() else "agent-strace"


def listing(found: dict[str, Path]) -> Iterator[str]:
    """Yield a line for each page: its name and what it describes."""
    width = max(map(len, found))
    for name, path in found.items():
        summary = re.search(r"^\.Nd (.*)", path.read_text(), re.M)
        yield f"{name:{width}}  {summary[1] if summary else ''}".rstrip()


@click.command("man", cls=Command)
@click.argument("page", required=False)
def man(page: str | None) -> None:
    """Show the man page PAGE; without PAGE, list the pages."""
    found = pages()
    if not found:
        raise click.UsageError("the man pages are not installed with this program")
    if page is None:
        width = terminal_size(1)[0] - 1 if sys.stdout.isatty() else sys.maxsize
        for line in listing(found):
            click.echo("\n".join(fold(line, width)))
        return
    page = page_of(page)
    if page not in found:
        raise click.UsageError(f"no page {page!r}{did_you_mean(page, [*found, *SUBCOMMANDS])}")
    viewer = next(filter(shutil.which, VIEWERS), None)
    if viewer is None:
        raise click.UsageError(
            f"neither {' nor '.join(VIEWERS)} is installed; the page is {found[page]}"
        )
    sys.stdout.flush()
    if not sys.stdout.isatty():
        # man-db reports wide tables, and a reader that has gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.execvp(viewer, [viewer, str(found[page])])


man.params.append(version_option())
