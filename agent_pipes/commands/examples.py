"""agent-strace examples: copy the example sessions of the man pages into a directory."""

import shutil
from pathlib import Path

import click

from agent_pipes.core.filter import Command, version_option

EXAMPLES = Path(__file__).resolve().parents[1] / "data" / "examples"


@click.command("examples", cls=Command)
@click.argument("directory", type=click.Path(path_type=Path))
def examples(directory: Path) -> None:
    """Copy the example sessions into DIRECTORY; the examples of the man pages run there."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise click.UsageError(f"{directory}: exists and is not an empty directory")
    try:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(EXAMPLES, directory, dirs_exist_ok=True, ignore=ignored)
    except OSError as error:
        raise click.UsageError(f"{directory}: {error.strerror or error}") from None
    click.echo(f"copied to {directory}; try: cd {directory} && trace-cost --summary spiral.ndjson")


examples.params.append(version_option())
