"""Progress of an agent that tests: fewer failures than before, or another version under test."""

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.lazy_regex import pattern
from agent_pipes.detect.calls import Call
from agent_pipes.detect.outcomes import Outcome

MAX_COMMANDS = 50
"""Test commands of one agent whose number of failures is remembered."""

_BISECTS = pattern(r"\bgit (?:-\S+ (?:\S+ )?)*bisect (?:good|bad|skip|old|new|next)\b")


class TestProgress:
    """The number of failures that each test command of one agent reported last."""

    def __init__(self) -> None:
        self._failures: BoundedDict[int, int] = BoundedDict(MAX_COMMANDS)

    def made_by(self, call: Call) -> bool:
        """Return True if an answered call reports fewer failures than the same call before.

        A step of a bisection is progress, too: the next test is of another version.
        """
        if "bisect" in call.command and _BISECTS.search(call.command):
            return call.outcome is Outcome.OK
        count = call.failure_count
        if count is None:
            return False
        before = self._failures.get(call.target, 0)
        self._failures.renew(call.target, count)
        return count < before
