"""One tool with ever other arguments, and the same answer."""

from collections.abc import Iterable

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event, is_person
from agent_pipes.detect.calls import Call
from agent_pipes.detect.finding import CALLS_AND_PROMPTS, Finding, seen
from agent_pipes.detect.outcomes import Outcome, result_text
from agent_pipes.detect.results import Result

MAX_PROGRAMS = 16
"""Tools and programs of one agent whose latest answer is remembered."""

MAX_LENGTH_DIFFERENCE = 64
"""Characters by which two answers may differ in length beside a quarter of it: of others nothing
but the length is looked at."""

MAX_EVIDENCE = 20
"""Calls that a violation names: the latest."""


class Stagnation:
    """Counts the calls of each tool, or program, whose arguments differ and whose answers do not.

    Answers without text are left out: many healthy commands print nothing. It is a warning, never
    more, because a writer of many files gets one answer, too.
    """

    types = CALLS_AND_PROMPTS

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.answers: BoundedDict[str, tuple[Result, dict[int, str]]] = BoundedDict(MAX_PROGRAMS)

    def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
        """Return the row of equal answers, if it is long enough."""
        if is_person(event):
            self.answers.clear()
        if not self.limit or call is None or call.answer is None or call.outcome is not Outcome.OK:
            return ()
        if not result_text(call.answer).strip():
            return ()
        program, answer = call.program, call.result
        before, calls = self.answers.get(program, (answer, {}))
        calls = calls if _are_same(before, answer) else {}
        calls[call.key] = call.id
        while len(calls) > 2 * self.limit:
            del calls[next(iter(calls))]
        self.answers.renew(program, (answer, calls))
        return self._judge(program, calls) if len(calls) >= self.limit else ()

    def holding(self, now: float) -> Iterable[Finding]:
        """Return all rows of equal answers that are long enough."""
        return [
            found
            for program, (_, calls) in self.answers.items()
            if self.limit and len(calls) >= self.limit
            for found in self._judge(program, calls)
        ]

    def _judge(self, program: str, calls: dict[int, str]) -> Iterable[Finding]:
        found = Finding(
            ("stagnation", program),
            f"{len(calls)} calls of {program} with different arguments and the same answer",
            1,
            "warning",
            tuple(filter(None, list(calls.values())[-MAX_EVIDENCE:])),
            seen(len(calls), self.limit, "--max-stagnant"),
        )
        return (found,)


def _are_same(one: Result, other: Result) -> bool:
    near = MAX_LENGTH_DIFFERENCE + one.length // 4
    return abs(one.length - other.length) <= near and one.same(other)
