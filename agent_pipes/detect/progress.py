"""Progress of an agent that tests: fewer failures than before."""

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.detect.calls import Call

MAX_COMMANDS = 50
"""Test commands of one agent whose number of failures is remembered."""


class TestProgress:
    """The number of failures that each test command of one agent reported last."""

    def __init__(self) -> None:
        self._failures: BoundedDict[int, int] = BoundedDict(MAX_COMMANDS)

    def made_by(self, call: Call) -> bool:
        """Return True if an answered call reports fewer failures than the same call before."""
        count = call.failure_count
        if count is None:
            return False
        before = self._failures.get(call.target, 0)
        self._failures.renew(call.target, count)
        return count < before
