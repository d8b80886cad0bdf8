"""The vocabulary of the stream: events, and those that this suite adds. See agent-pipes(7)."""

from collections.abc import Mapping
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Literal

from agent_pipes.core.digests import blake2b
from agent_pipes.core.jsonl import Fields, dumps

OURS = frozenset(
    {
        "process",
        "violation",
        "kill",
        "resume",
        "snapshot",
        "history_start",
        "history_end",
        "tick",
        "unbelieved",
    }
)
"""Types that only this suite's commands may write: in a followed file they are not believed."""

RECORDING = frozenset({"llm_response", "llm_request", "assistant_response"})
"""Types of events that may have a usage, to which trace-cost adds a cost."""

YEAR_2000, YEAR_2100 = 946_684_800.0, 4_102_444_800.0

USUAL = ("event_type", "timestamp", "session_id", "event_id", "data")
_USUAL = itemgetter(*USUAL)


class Event:
    """One line of the stream: its bytes and its fields.

    Fields have their type whatever the line has: one that is absent or of a wrong type is empty
    (`""`, `0.0`, `{}`).

    raw:     the line as it came, with its newline.
    type:    the event's type, "" for a line that is no event.
    time:    the event's own time, seconds since the epoch; 0.0 if absent or absurd.
    session: the session's id.
    agent:   the subagent's id within the session, "" for the main agent.
    id:      the event's id; a tool call's id if the source has one.
    parent:  the id of the event that this one answers.
    host:    the host that it comes from, as `trace-tail --add-host` names it.
    user:    the user whose agent it is, from the same option.
    data:    the event's data, by type.
    arrival: time at which it was read from a stream, seconds since the epoch; 0.0 if it was not.
    """

    __slots__ = (
        "raw",
        "type",
        "time",
        "session",
        "id",
        "parent",
        "host",
        "user",
        "data",
        "arrival",
    )

    def __init__(self, raw: bytes, fields: Fields) -> None:
        try:
            kind, time, session, name, data = _USUAL(fields)
        except KeyError:
            kind, time, session, name, data = map(fields.get, USUAL)
        get = fields.get
        parent, host, user = get("parent_id", ""), get("host", ""), get("user", "")
        if not (
            type(kind) is type(session) is type(name) is type(parent) is str
            and type(host) is type(user) is str
            and type(time) is float
            and YEAR_2000 <= time < YEAR_2100
            and type(data) is dict
        ):
            kind, session, name, parent = map(_text, (kind, session, name, parent))
            host, user = _text(host), _text(user)
            time, data = _time(time), data if type(data) is dict else {}
        self.raw = raw
        self.type: str = kind
        self.time: float = time
        self.session: str = session
        self.id: str = name
        self.parent: str = parent
        self.host: str = host
        self.user: str = user
        self.data: Fields = data
        self.arrival = 0.0

    @property
    def agent(self) -> str:
        agent = self.data.get("agent_id")
        return agent if type(agent) is str else ""

    def text(self, key: str) -> str:
        """Return the string that `data` has under `key`, else ""."""
        value = self.data.get(key)
        return value if type(value) is str else ""

    def number(self, key: str) -> float | None:
        """Return the number that `data` has under `key`, else None; a bool is no number."""
        value = self.data.get(key)
        return value if type(value) in (int, float) else None

    def __repr__(self) -> str:
        return f"<Event {self.type or '?'} {self.id} {self.time}>"


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
    "file_read",
    "file_write",
    "decision",
    "compaction",
    "waiting",
    "reported_cost",
    "quota",
    "context",
    "process",
    "violation",
    "kill",
    "resume",
    "snapshot",
    "history_start",
    "history_end",
    "unbelieved",
    "cost_summary",
)
"""All types of the vocabulary but `tick`, which stays inside a process."""


NO_ORIGIN: Mapping[str, str] = MappingProxyType({})


def make(
    event_type: str,
    timestamp: float,
    session: str,
    data: Mapping[str, Any],
    *,
    id: str = "",
    parent: str = "",
    origin: Mapping[str, str] = NO_ORIGIN,
) -> Event:
    """Return an event of our own. By default its id is a hash, so that a replay has the same.

    The hint is left out of it: a filter alone and `watch` call one option by two names.

    origin: its `host` and `user`, if they are known.
    """
    hashed = {key: value for key, value in data.items() if key != "hint"}
    place = f"{event_type}\0{session}\0{parent}\0{timestamp}\0".encode()
    fields: Fields = {"event_type": event_type, "timestamp": timestamp}
    fields["event_id"] = id or digest(place + dumps(hashed))[:12]
    fields["session_id"] = session
    if parent:
        fields["parent_id"] = parent
    fields |= origin
    fields["data"] = data
    return from_fields(fields)


def from_fields(fields: Fields) -> Event:
    """Return the event with these fields."""
    return Event(dumps(fields) + b"\n", fields)


STAND_IN_PREFIX = "command-"
"""Start of the ID of the placeholder for the session of a command that has shown none."""


def tick(timestamp: float, session: str = "") -> Event:
    """Return the time while nothing happens, of one session or of all.

    It never leaves its process: it has no bytes.
    """
    return Event(b"", {"event_type": "tick", "timestamp": timestamp, "session_id": session})


def is_person(event: Event) -> bool:
    """Return True for a prompt of a person; a hook, an autopilot or a notification is none."""
    return event.type == "user_prompt" and event.text("origin") in ("", "person")


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
    origin: Mapping[str, str] = NO_ORIGIN,
    **seen: object,
) -> Event:
    """Return a violation: a limit was exceeded.

    trigger:  the event that it follows.
    watcher:  the detector's name.
    message:  for people.
    time:     when the limit was exceeded, seconds since the epoch.
    evidence: ids of the events that show it.
    actions:  sinks that act on it; empty: all.
    origin:   the session's `host` and `user`, if they are known.
    seen:     further fields: `count` or `value`, `limit`, …
    """
    data: Fields = {"watcher": watcher, "level": level, "message": message, **seen}
    if evidence:
        data["evidence"] = list(evidence)
    if actions:
        data["actions"] = list(actions)
    return make("violation", time, session, data, parent=trigger.id, origin=origin)


def digest(content: bytes) -> str:
    """Return 96 bits of hash of `content`, as hex digits."""
    return blake2b(content, digest_size=12).hexdigest()
