"""The same error comes again and again, whatever the command."""

from collections.abc import Iterable

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.display import truncate
from agent_pipes.core.event import Event, is_person
from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.text import mask_volatile, without_frame
from agent_pipes.detect.calls import Call, is_same_attempt
from agent_pipes.detect.finding import CALLS_AND_PROMPTS, Finding, seen
from agent_pipes.detect.outcomes import Outcome, result_end, result_text
from agent_pipes.detect.progress import TestProgress

LAST_LINES = 3
"""Lines of an error that are compared: the last, where tools print what is wrong."""

MAX_ERRORS = 64
"""Errors of one agent that are counted; the one that came last longest ago is evicted."""

MAX_EVIDENCE = 10
"""Failures that a violation names: the latest."""

MAX_SHOWN_CHARS = 80
"""Characters of an error that a message has."""

_TEMPORARY_FILE = pattern(r"/tmp/[\w./+-]{1,120}")  # noqa: S108
_DIGITS = pattern(r"\d+")


class ErrorStreak:
    """One error since its user's last prompt.

    program:  the program or tool that fails with it.
    targets:  the calls that failed with it, two at most.
    last:     the last call that failed with it.
    evidence: ids of the latest failures.
    """

    __slots__ = ("count", "evidence", "key", "last", "program", "targets", "text")

    def __init__(self, text: str, program: str, key: str) -> None:
        self.text = text
        self.program = program
        self.key = key
        self.count = 0
        self.last: Call | None = None
        self.targets: set[int] = set()
        self.evidence: tuple[str, ...] = ()


class RepeatedError:
    """Counts each error of one agent, by its last lines.

    A success of the program that fails with it ends a count; a falling number of failing tests
    ends all.
    """

    types = CALLS_AND_PROMPTS

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.streaks: BoundedDict[str, ErrorStreak] = BoundedDict(MAX_ERRORS)
        self.progress = TestProgress()

    def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
        """Return the error that has come again, if often enough."""
        if is_person(event):
            self.streaks.clear()
        if not self.limit or call is None or call.answer is None:
            return ()
        answer, outcome = call.answer, call.outcome
        call = call.started_by or call
        if self.progress.made_by(call):
            self.streaks.clear()
        if outcome is Outcome.FAILED:
            return self._failed(call, answer)
        if outcome in (Outcome.OK, Outcome.ANSWER) and self.streaks:
            program = call.program
            for text, streak in [*self.streaks.items()]:
                if streak.program == program:
                    del self.streaks[text]
        return ()

    def holding(self, now: float) -> Iterable[Finding]:
        """Return all errors that came often enough."""
        return [found for streak in self.streaks.values() for found in self._judge(streak)]

    def _failed(self, call: Call, answer: Event) -> Iterable[Finding]:
        text = last_lines(result_end(answer) or result_text(answer))
        compared = mask_volatile(_TEMPORARY_FILE.sub("<>", text), failed=True)
        if not call.test_tool.name:
            # Of a test, a build or a linter digits are the progress.
            compared = _DIGITS.sub("", compared)
        if not compared.strip():
            return ()
        streak = self.streaks.get(compared)
        if streak is None:
            streak = ErrorStreak(text, call.program, answer.id)
        elif is_same_attempt(call, streak.last):
            return ()
        streak.count += 1
        streak.last = call
        if len(streak.targets) < 2:
            streak.targets.add(call.target)
        if answer.id:
            streak.evidence = (*streak.evidence[1 - MAX_EVIDENCE :], answer.id)
        self.streaks.renew(compared, streak)
        return self._judge(streak)

    def _judge(self, streak: ErrorStreak) -> Iterable[Finding]:
        # One call that fails alike is counted by RepeatedFailure.
        warn = max(2, self.limit - 1)
        if streak.count < warn or len(streak.targets) < 2:
            return ()
        critical = streak.count >= self.limit
        shown = truncate(" ".join(streak.text.split("\n")[-1].split()), MAX_SHOWN_CHARS)
        found = Finding(
            ("error", streak.key),
            f'the same error {streak.count} times, whatever the command: "{shown}"',
            2 if critical else 1,
            "critical" if critical else "warning",
            streak.evidence,
            seen(streak.count, self.limit, "--max-errors"),
        )
        return (found,)


def last_lines(text: str) -> str:
    """Return the last lines of an error that are not blank, without those of the client."""
    lines = without_frame(text).splitlines()
    kept = [line.strip() for line in lines if line.strip()]
    return "\n".join(kept[-LAST_LINES:])
