"""The file of the results: a section for each group of rows, which can be measured alone."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

TITLE = """# Results of `make bench`

Each section has the time and the load at which it was measured. *reached* is ours by the other's, or the figure that is
compared with the target; below a target that is not met is the profile of where the time goes.
"""


OURS = Path(__file__).parent / "results.md"

QUOTED = (
    "append to SIGTERM, composed pipeline, ",
    "`trace-detect-retry --version`",
    "a hook's call",
    "`trace-cost --all --by day`, about 250 MB, processor time",
    "`agent-strace backtest --since off --jobs 1`, processor time",
    "`trace-cost --all --by day`, four times",
    "`watch --all`, waiting",
    "`trace-tail FILE`, idle",
    "`watch` is armed",
    "`trace-tail --max-line 1M`",
)
"""Beginnings of the rows that the README quotes."""

QUOTE = re.compile(
    r"\(\d{4}-\d\d-\d\d\):\n\n\| what \| here \| beside \|\n\|---\|---\|---\|\n(?:\|.*\n)+"
)
"""The README's date and table."""


class Row(NamedTuple):
    """A line of the table. `reached` and `target` are compared; a target of 0 is none."""

    what: str
    ours: str
    peer: str
    reached: float
    target: float
    unit: str = "×"

    @property
    def met(self) -> bool:
        """True if there is no target, or it is reached."""
        return not self.target or self.reached <= self.target

    def line(self) -> str:
        """Return the row in Markdown."""
        reached = f"{self.reached:.2f} {self.unit}" if self.reached else ""
        target = f"≤ {self.target:g} {self.unit}" if self.target else ""
        verdict = "" if not self.target else "met" if self.met else "**not met**"
        return f"| {self.what} | {self.ours} | {self.peer} | {reached} | {target} | {verdict} |"


def seconds(taken: float) -> str:
    """Return a time as the table has it."""
    return f"{taken * 1e3:.1f} ms" if taken < 1 else f"{taken:.2f} s"


def section(name: str, head: str, rows: Sequence[Row], why: str) -> str:
    """Return the section of a group: its table, and why a target is not met."""
    table = [
        "| what | ours | beside | reached | to reach | |",
        "| --- | --- | --- | --- | --- | --- |",
        *(row.line() for row in rows),
    ]
    return "\n".join([f"## {name}", "", head, "", *table, *(["", why.rstrip()] if why else []), ""])


def put(path: Path, name: str, text: str, order: Sequence[str]) -> None:
    """Put a section into the file, in the place of its former one; the others stay."""
    found = re.split(r"^(?=## )", path.read_text() if path.exists() else "", flags=re.M)[1:]
    sections = {each.split("\n", 1)[0].removeprefix("## "): each.rstrip() + "\n" for each in found}
    sections[name] = text
    kept = [sections[each] for each in order if each in sections]
    path.write_text("\n".join([TITLE, *kept]))


def quoted(text: str) -> str:
    """Return the README's date and table, from the text of the results."""
    rows = [line.split(" | ")[:3] for line in text.splitlines() if line.startswith("| ")]
    table = [
        f"{row[0]} | {row[1]} | {row[2]} |"
        for begin in QUOTED
        for row in rows
        if row[0].startswith(f"| {begin}") and " at " not in row[2]
    ]
    date = max(re.findall(r"^\d{4}-\d\d-\d\d", text, re.M))
    return "\n".join([f"({date}):", "", "| what | here | beside |", "|---|---|---|", *table, ""])


def quote(readme: Path) -> None:
    """Put the README's table, from the results."""
    text = quoted(OURS.read_text())
    readme.write_text(QUOTE.sub(lambda _: text, readme.read_text()))
