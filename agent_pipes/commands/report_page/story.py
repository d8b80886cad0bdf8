"""One session as the report shows it: calls, prompts, violations, dollars over time."""

from dataclasses import dataclass, field

from agent_pipes.commands.report_page.changes import Change
from agent_pipes.commands.session_status import KILLS
from agent_pipes.core.event import Event
from agent_pipes.core.jsonl import Fields
from agent_pipes.detect.calls import Call
from agent_pipes.detect.outcomes import Outcome, result_text

NOT_RUN = {"sibling": "not run", "rejected": "refused"}
"""Words for the reasons of an `error` by which a call did not run to its end."""


@dataclass(slots=True)
class CallRow:
    """A tool call and its result.

    at:            seconds after the session's start.
    took:          seconds until the result, None without one.
    state:         `ok`, `fail`, `cut` (not run, refused, interrupted) or `open` (no result).
    outcome:       the state in words.
    usd:           dollars of the response that made the call; None for its later calls.
    overwritten:   number of the call that replaced this edit's text, 0 if none did.
    subagent:      id of the subagent that the call started.
    """

    call: Call
    at: float
    changes: list[Change]
    number: int = 0
    took: float | None = None
    state: str = "open"
    outcome: str = "no result"
    result: str = ""
    usd: float | None = None
    overwritten: int = 0
    subagent: str = ""

    @property
    def id(self) -> str:
        return self.call.id

    @property
    def tool(self) -> str:
        return self.call.tool

    @property
    def agent(self) -> str:
        return self.call.agent

    @property
    def step(self) -> str:
        return self.call.step

    @property
    def arguments(self) -> Fields:
        return self.call.arguments

    @property
    def end(self) -> float:
        return self.at + (self.took or 0.0)

    def answer(self, event: Event, at: float) -> None:
        """Take in the result, which came `at` seconds after the session's start."""
        self.took = max(0.0, at - self.at)
        self.result = result_text(event)
        if self.call.outcome is Outcome.FAILED or event.text("outcome") == "failed":
            self.state, self.outcome = "fail", "failed"
        elif self.call.outcome is Outcome.VOID:
            reason = event.text("reason")
            self.state, self.outcome = "cut", NOT_RUN.get(reason, "interrupted")
        else:
            self.state, self.outcome = "ok", "ok"


@dataclass(slots=True)
class Mark:
    """A violation or a kill, with the dollars spent by then."""

    letter: str
    at: float
    watcher: str
    level: str
    message: str
    data: Fields
    usd: float

    @property
    def critical(self) -> bool:
        return self.level == "critical"


@dataclass(slots=True)
class Prompt:
    """A prompt: `origin` is `person`, or a substitute for one."""

    at: float
    text: str
    origin: str


@dataclass(slots=True)
class Subagent:
    """A subagent: its short name and type, when it worked, its dollars and calls."""

    id: str
    name: str = ""
    kind: str = ""
    start: float = 0.0
    end: float = 0.0
    usd: float = 0.0
    calls: int = 0


@dataclass(slots=True)
class Story:
    """A session as the page shows it.

    start:     time of the first event, seconds since the epoch; all other times are relative to it.
    length:    seconds from the first event to the last.
    curve:     (time, dollars so far) after each response.
    waits:     spans in which the agent waited for its user.
    gaps:      spans of at least MIN_GAP_S without an event.
    priced:    True if any response carried a cost.
    estimated: True if the sum contains an estimate.
    unpriced:  responses of a model without a known price.
    events:    number of events read.
    alone:     longest time that the agent has worked without its user, seconds.
    silent:    longest silence while it was the agent's turn, and no call was in flight, seconds.
    """

    session: str
    agent: str = ""
    cwd: str = ""
    models: dict[str, float] = field(default_factory=dict)
    start: float = 0.0
    length: float = 0.0
    calls: list[CallRow] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    subagents: dict[str, Subagent] = field(default_factory=dict)
    curve: list[tuple[float, float]] = field(default_factory=list)
    waits: list[tuple[float, float]] = field(default_factory=list)
    gaps: list[tuple[float, float]] = field(default_factory=list)
    usd: float = 0.0
    priced: bool = False
    estimated: bool = False
    unpriced: int = 0
    events: int = 0
    alone: float = 0.0
    silent: float = 0.0

    @property
    def trip(self) -> Mark | None:
        """The first critical violation."""
        return next((mark for mark in self.marks if mark.critical), None)

    @property
    def kill(self) -> Mark | None:
        """The first kill that succeeded."""
        kills = (mark for mark in self.marks if mark.level == "kill")
        return next((mark for mark in kills if mark.data.get("outcome") in KILLS), None)

    @property
    def usd_after_trip(self) -> float:
        trip = self.trip
        return self.usd - trip.usd if trip else 0.0

    @property
    def idle(self) -> float:
        """Seconds in gaps of at least MIN_GAP_S."""
        return sum(end - start for start, end in self.gaps)

    @property
    def usd_of_calls(self) -> float:
        return sum(row.usd or 0.0 for row in self.calls)
