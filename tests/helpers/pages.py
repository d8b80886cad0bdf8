"""Contents of the man pages: examples that are run, and files that are shown."""

import re
import shutil
import subprocess
from pathlib import Path

from tests.helpers.support import BIN, ENVIRONMENT, FIXTURES, ROOT

PAGES = sorted((ROOT / "man").glob("*.[17]"))

TOOLS = ("jq", "make", "awk")
"""Programs that examples use beside the suite; where one is missing they are skipped by name."""


def blocks(page: Path) -> list[str]:
    """The literal blocks of the page's EXAMPLES, as a reader sees them."""
    section = re.search(r"^\.Sh EXAMPLES\n(.*?)(?=^\.Sh |\Z)", page.read_text(), re.S | re.M)
    found = re.findall(
        r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed", section.group(1) if section else "", re.S | re.M
    )
    return [
        block.replace("\\e", "\\")
        .replace("\\-", "-")
        .replace("\\(aq", "'")
        .replace("\\&", "")
        .replace("\\(dq", '"')
        for block in found
    ]


def files(page: Path) -> dict[str, str]:
    """The blocks that show a file: their first line is its name, in a comment."""
    shown = (re.match(r"# ([\w.-]+\.\w+)\n", block) for block in blocks(page))
    return {name.group(1): name.string for name in shown if name}


def examples(page: Path) -> list[str]:
    """All other blocks: what is typed, and what then stands on stdout."""
    return [block for block in blocks(page) if block not in files(page).values()]


def parts(block: str) -> list[tuple[str, list[str]]]:
    """Yield (command, expected lines): `$ ` begins a command, a backslash continues it."""
    found: list[tuple[str, list[str]]] = []
    continued = False
    for line in block.splitlines():
        if continued:
            found[-1] = (found[-1][0] + "\n" + line.removeprefix("> "), [])
        elif line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
        continued = (line.startswith("$ ") or continued) and line.endswith(("\\", "|"))
    return found


def missing(block: str) -> str:
    """The tool that a block uses and this machine has not, "" where it has all."""
    return next(
        (tool for tool in TOOLS if re.search(rf"\b{tool}\b", block) and not shutil.which(tool)), ""
    )


def examples_directory(folder: Path, page: Path | None = None) -> Path:
    """A directory for examples: a fresh copy of the fixtures, and the files of the page."""
    shutil.copytree(FIXTURES, folder)
    for name, text in files(page).items() if page else ():
        (folder / name).write_text(text)
    return folder


def environment(folder: Path) -> dict[str, str]:
    return ENVIRONMENT | {
        "PATH": f"{BIN}:{ENVIRONMENT['PATH']}",
        "HOME": str(folder),
        "CLAUDE_CONFIG_DIR": str(folder / "claude-home"),
    }


def check(block: str, folder: Path) -> None:
    """Run the block's commands in one bash; fail if the output differs from the page."""
    marks = [f"=== {number} ===" for number in range(len(parts(block)))]
    script = "\n".join(
        f"echo '{mark}'\n(exit $status)\n{command}\nstatus=$?"
        for mark, (command, _) in zip(marks, parts(block), strict=True)
    )
    done = subprocess.run(
        ["bash", "-c", "status=0\n" + script],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=60,
    )
    outputs = re.split(r"^=== \d+ ===\n", done.stdout, flags=re.M)[1:]
    for (command, expected), output in zip(parts(block), outputs, strict=True):
        pattern = "".join(
            r"(?:.*\n)*?" if line == "..." else re.escape(line) + "\n" for line in expected
        )
        assert re.fullmatch(pattern, output), f"$ {command}\n{output}\n{done.stderr}"
