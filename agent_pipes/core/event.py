"""The vocabulary of the stream: what an event says, and the events this suite adds. See agent-pipes(7)."""

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Literal, TypeVar

from agent_pipes.core.digests import blake2b
from agent_pipes.core.jsonl import Fields, dumps, parse_line

Made = TypeVar("Made")

OURS = frozenset(
    {"process", "violation", "kill", "history_start", "history_end", "tick", "unbelieved"}
)
"""The types that only this suite's own commands may say: what a followed file says of them is not believed."""


RECORDING = frozenset({"llm_response", "llm_request", "assistant_response"})
"""The types of the events that a usage may stand in, and that trace-cost adds a cost to."""

YEAR_2000, YEAR_2100 = 946_684_800.0, 4_102_444_800.0

USUAL = ("event_type", "timestamp", "session_id", "event_id", "data")
_USUAL = itemgetter(*USUAL)


class Event:
    """One line of the stream: its bytes, and what they say.

    `raw` is the line as it came, with its newline: what flows on. The rest is read from it once and is always of
    its type, whatever the line held: a field that is absent or of a wrong type is empty (`""`, `0.0`, `{}`).

    type:     the event's type, "" for a line that is no event.
    time:     the event's own time, seconds since the epoch; 0.0 where it has none or an absurd one.
    session:  the session's id.
    agent:    the subagent's id within the session, "" for the main one.
    id:       the event's id; the tool call's id where the source has one.
    parent:   the id of the event that this one answers.
    data:     the event's data, by type.
    memo:     what was worked out of this event, see `once`.
    """

    __slots__ = ("raw", "type", "time", "session", "id", "parent", "data", "memo")

    def __init__(self, raw: bytes, fields: Fields) -> None:
        try:
            kind, time, session, name, data = _USUAL(fields)
        except KeyError:
            kind, time, session, name, data = map(fields.get, USUAL)
        parent = fields.get("parent_id", "")
        if not (
            type(kind) is type(session) is type(name) is type(parent) is str
            and type(time) is float
            and YEAR_2000 <= time < YEAR_2100
            and type(data) is dict
        ):
            kind, session, name, parent = map(_text, (kind, session, name, parent))
            time, data = _time(time), data if type(data) is dict else {}
        self.raw = raw
        self.type: str = kind
        self.time: float = time
        self.session: str = session
        self.id: str = name
        self.parent: str = parent
        self.data: Fields = data
        self.memo: dict[str, Any] | None = None

    @property
    def agent(self) -> str:
        agent = self.data.get("agent_id")
        return agent if type(agent) is str else ""

    def text(self, key: str) -> str:
        """The string that `data` has under `key`, or ""."""
        value = self.data.get(key)
        return value if type(value) is str else ""

    def number(self, key: str) -> float | None:
        """The number that `data` has under `key`; None where it has none (a bool and a string are none)."""
        value = self.data.get(key)
        return value if type(value) in (int, float) else None

    def once(self, name: str, make: Callable[["Event"], Made]) -> Made:
        """What `make` makes of the event, under this name: made once, however many stages in this process ask."""
        if self.memo is None:
            self.memo = {}
        made: Made | None = self.memo.get(name)
        if made is None:
            made = self.memo[name] = make(self)
        return made

    def __repr__(self) -> str:
        return f"<Event {self.type or '?'} {self.id} {self.time}>"


class Passed(Event):
    """Lines in a row that nobody looks into. No event, but it has the time of the last of them."""

    __slots__ = ()

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.type = self.session = self.id = self.parent = ""
        self.data = {}
        self.memo = None

    @property
    def time(self) -> float:  # type: ignore[override]
        return Event(b"", parse_line(self.raw[self.raw.rfind(b"\n", 0, -1) + 1 :]) or {}).time


def _text(value: object) -> str:
    return value if type(value) is str else ""


def _time(value: object) -> float:
    return float(value) if type(value) in (int, float) and YEAR_2000 <= value < YEAR_2100 else 0.0  # type: ignore[operator,arg-type]


KNOWN = (
    "session_start",
    "session_end",
    "user_prompt",
    "assistant_response",
    "llm_request",
    "llm_response",
    "tool_call",
    "tool_result",
    "error",
    "subagent_start",
    "subagent_stop",
    "process",
    "violation",
    "kill",
    "history_start",
    "history_end",
    "unbelieved",
    "cost_summary",
)
"""The types that the vocabulary has."""


AS_WRITTEN = 34
"""Bytes of a line by which its type is known, if it is written as ours are."""

WRITTEN = {
    (b'{"event_type":"%b","timestamp":' % kind.encode())[:AS_WRITTEN]: kind
    for kind in KNOWN
    if len(kind) > 4
}
"""How a line of each type begins that is written as ours are. One of a shorter type is read: its time would be part of it."""


def make(
    event_type: str,
    timestamp: float,
    session: str,
    data: Mapping[str, Any],
    *,
    id: str = "",
    parent: str = "",
) -> Event:
    """An event of our own. Without an `id` it gets one made from what it says, so that a replay gives the same."""
    fields: Fields = {"event_type": event_type, "timestamp": timestamp}
    fields["event_id"] = (
        id
        or digest(f"{event_type}\0{session}\0{parent}\0{timestamp}\0".encode() + dumps(data))[:12]
    )
    fields["session_id"] = session
    if parent:
        fields["parent_id"] = parent
    fields["data"] = data
    return from_fields(fields)


def from_fields(fields: Fields) -> Event:
    """The event that `fields` say, with its line."""
    return Event(dumps(fields) + b"\n", fields)


def tick(timestamp: float) -> Event:
    """The time while nothing happens. It never leaves its process: it has no bytes."""
    return Event(b"", {"event_type": "tick", "timestamp": timestamp})


Level = Literal["warning", "critical"]


def violation(
    trigger: Event,
    watcher: str,
    message: str,
    *,
    time: float,
    session: str,
    level: Level = "critical",
    evidence: tuple[str, ...] = (),
    actions: tuple[str, ...] = (),
    **seen: object,
) -> Event:
    """A limit was passed: `watcher` says so in `message`, for people, at `time`.

    `seen` is what was seen and what was allowed (`count` or `value`, `limit`, …); `evidence` the ids of the events
    that show it. With `actions` only those sinks act on it, without any all do.
    """
    data: Fields = {"watcher": watcher, "level": level, "message": message, **seen}
    if evidence:
        data["evidence"] = list(evidence)
    if actions:
        data["actions"] = list(actions)
    return make("violation", time, session, data, parent=trigger.id)


def digest(content: bytes) -> str:
    """A short name for `content`: equal content has the same, and other content practically never (96 bits)."""
    return blake2b(content, digest_size=12).hexdigest()
