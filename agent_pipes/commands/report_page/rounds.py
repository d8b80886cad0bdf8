"""Rounds of a loop and groups of equal errors."""

import re
from dataclasses import dataclass, field

from agent_pipes.commands.report_page.story import CallRow, Mark, Story
from agent_pipes.commands.report_page.words import clip, subject
from agent_pipes.core.text import mask_volatile

DIFFERENCE_CHARS = 56
"""Characters of either side of a difference between two rounds."""


_WRAPPED = re.compile(r"\A<(\w+)>(.*)</\1>\Z", re.DOTALL)
"""An error text that a client has put between tags."""


_HEADER = re.compile(r"\AChunk ID: .*?\nOutput:\n", re.DOTALL)
"""Lines that a client has put before the output of a command."""


_FILLING = re.compile(r"([ =_-])\1{3,}")
"""Characters that only fill a line."""


@dataclass(slots=True)
class Round:
    """One round of a loop.

    differs: (before, after) of what this round did otherwise than the one before; "" for nothing.
    result:  `first seen`, `same error`, `other error`, `same result`, `other result`.
    late:    True after the trip.
    """

    number: int
    calls: list[CallRow]
    differs: tuple[str, str] = ("", "")
    result: str = ""
    late: bool = False

    @property
    def usd(self) -> float:
        return sum(row.usd or 0.0 for row in self.calls)

    @property
    def start(self) -> float:
        return self.calls[0].at

    @property
    def end(self) -> float:
        return max(row.end for row in self.calls)


@dataclass(slots=True)
class Loop:
    """A loop that was raised: the violation, and its rounds, those after it included."""

    mark: Mark
    rounds: list[Round]
    differing: list[int] = field(default_factory=list)

    @property
    def fails_alike(self) -> bool:
        """True if every round up to the trip ended with the error of the first."""
        return all(each.result == "same error" for each in self.rounds[1:] if not each.late)

    @property
    def late(self) -> list[Round]:
        return [each for each in self.rounds if each.late]


def find_loop(story: Story) -> Loop | None:
    """Return the first critical loop with its rounds, else the first with a warning."""
    marks = [mark for mark in story.marks if mark.watcher == "loop" and mark.data.get("evidence")]
    marks.sort(key=lambda mark: not mark.critical)
    for mark in marks:
        if rounds := _rounds(story, mark):
            loop = Loop(mark, rounds)
            _compare(loop, story.cwd)
            return loop
    return None


def _rounds(story: Story, mark: Mark) -> list[Round]:
    steps, evidence = mark.data.get("steps"), mark.data.get("evidence")
    if not isinstance(steps, list) or not steps or not isinstance(evidence, list):
        return []
    shown = set(map(str, evidence))
    length = len(steps)
    rows = [row for row in story.calls if row.id in shown]
    if len(rows) < length or len({row.agent for row in rows}) > 1:
        return []
    pattern = [row.call.verb for row in rows[:length]]
    later = [row for row in story.calls if row.agent == rows[0].agent and row.at > rows[-1].at]
    rows = rows[: len(rows) - len(rows) % length]
    for place in range(0, len(later) - length + 1, length):
        part = later[place : place + length]
        if [row.call.verb for row in part] != pattern:
            break
        rows += part
    starts = range(0, len(rows), length)
    rounds = [Round(n, rows[at : at + length]) for n, at in enumerate(starts, 1)]
    for each in rounds:
        each.late = mark.critical and each.start > mark.at
    return rounds


def _compare(loop: Loop, cwd: str) -> None:
    """Fill in what differs between the rounds, and how their results compare."""
    before: Round | None = None
    differing: set[int] = set()
    for each in loop.rounds:
        ends = [_outcome(row) for row in each.calls]
        failed = any(row.state == "fail" for row in each.calls)
        kind = "error" if failed else "result"
        if before is None:
            each.result = "first seen"
        else:
            same = (
                ends == [_outcome(row) for row in before.calls]
                if not failed
                else (_failures(each) == _failures(before))
            )
            each.result = f"{'same' if same else 'other'} {kind}"
        for place, row in enumerate(each.calls):
            other = before.calls[place] if before else None
            difference = _difference(row, other, cwd)
            if difference != ("", ""):
                differing.add(place)
                if each.differs == ("", ""):
                    each.differs = difference
        before = each
    loop.differing = sorted(differing)


def _failures(each: Round) -> list[str]:
    return [_outcome(row) for row in each.calls if row.state == "fail"]


def _outcome(row: CallRow) -> str:
    return mask_volatile(row.result, failed=row.state == "fail")


def _difference(row: CallRow, before: CallRow | None, cwd: str) -> tuple[str, str]:
    """Return what an edit replaces, or how the call's subject differs from the round before."""
    for change in row.changes:
        if change.whole:
            continue
        if before and before.arguments == row.arguments:
            return "", ""
        lines = list(change.lines())
        removed = next((text for sign, text in lines if sign == "-" and text.strip()), "")
        added = next((text for sign, text in lines if sign == "+" and text.strip()), "")
        return clip(removed.strip(), DIFFERENCE_CHARS), clip(added.strip(), DIFFERENCE_CHARS)
    if before is None or before.arguments == row.arguments:
        return "", ""
    old, new = subject(before, cwd)[1], subject(row, cwd)[1]
    return ("", "") if old == new else _trimmed(old, new)


def _trimmed(old: str, new: str) -> tuple[str, str]:
    """Return both texts without the words that they begin with in common."""
    before, after = old.split(" "), new.split(" ")
    while before and after and before[0] == after[0]:
        del before[0], after[0]
    return (
        clip(" ".join(before), DIFFERENCE_CHARS) or "(nothing)",
        clip(" ".join(after), DIFFERENCE_CHARS) or "(nothing)",
    )


@dataclass(slots=True)
class ErrorGroup:
    """Calls that failed, or were not run, with the same text."""

    text: str
    calls: list[CallRow]


def group_errors(story: Story) -> list[ErrorGroup]:
    """Return the groups of equal error texts (numbers aside), the largest first."""
    groups: dict[tuple[str, str], ErrorGroup] = {}
    for row in story.calls:
        if row.state not in ("fail", "cut"):
            continue
        text = (
            _FILLING.sub(r"\1\1\1", _HEADER.sub("", _WRAPPED.sub(r"\2", row.result.strip())))
            or row.result
        )
        key = (row.outcome, re.sub(r"\d+", "#", mask_volatile(text[:2000], failed=True)))
        groups.setdefault(key, ErrorGroup(text, [])).calls.append(row)
    return sorted(groups.values(), key=lambda group: (-len(group.calls), group.calls[0].number))
