"""The file of the results: a section for each group of rows, which can be measured alone."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

TITLE = """# Results of `make bench`

Each section has the time and the load at which it was measured. *reached* is ours by the other's, or the figure that is
compared with the target; below a target that is not met is the profile of where the time goes.
"""


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
