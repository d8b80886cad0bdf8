"""The work of `agent-strace hook`: read a payload, store its events, and answer for the guard.

The agent waits for it, so it loads little. It must never make the agent fail: errors are printed on
stderr, and the exit status is 0.
"""

import os
import time

from agent_pipes.agents.base_hooks import Payload, UnknownPayload
from agent_pipes.agents.store.writer import META, Store, Unwritable, locate_store
from agent_pipes.core.digests import sha256
from agent_pipes.core.jsonl import Fields, dumps, objects
from agent_pipes.hooks.events import event_of
from agent_pipes.hooks.hint import take_hint
from agent_pipes.hooks.payload import read_payload

MAX_PAYLOAD_BYTES = 64 << 20

MAX_PENDING_CALLS = 64
"""Calls of a session that may wait for their result; the oldest is dropped first."""


def run(*, guard: str, agent: str = "", word: str = "") -> int:
    """Read one payload from stdin and record it; return the exit status, which is always 0.

    guard:       mode of the guard (base_hooks.GUARDS), which answers on stdout; "" for none.
    agent, word: agent and event, if the payload does not name them.
    """
    try:
        if answer := record(_input(), guard=guard, agent=agent, word=word):
            os.write(1, answer)
    except (UnknownPayload, Unwritable, OSError, ValueError) as error:
        _complain(str(error))
    except Exception as error:
        if os.environ.get("AGENT_PIPES_TRACEBACK"):
            raise
        _complain(f"internal error: {type(error).__name__}: {error}; this payload is not recorded")
    return 0


def _complain(message: str) -> None:
    from agent_pipes.core.stderr import warn

    warn(message)


def _input() -> bytes:
    if os.isatty(0):
        raise UnknownPayload(
            "standard input is a terminal; an agent's hook payload is expected there "
            "(see agent-strace setup)"
        )
    content = bytearray()
    while chunk := os.read(0, 1 << 16):
        content += chunk
        if len(content) > MAX_PAYLOAD_BYTES:
            raise UnknownPayload(
                f"the payload is larger than {MAX_PAYLOAD_BYTES} bytes: it is not recorded"
            )
    return bytes(content)


def record(content: bytes, *, guard: str = "", agent: str = "", word: str = "") -> bytes:
    """Record the payload `content`; return the answer to the agent, b"" for none.

    Raise UnknownPayload and ValueError if it is no payload, Unwritable and OSError if the store
    cannot be written to.
    """
    payload = read_payload(_parsed(content), time.time(), agent, word)
    event_type, data = event_of(payload) if payload.kind else ("", {})
    stops = guard == "stop"
    guards = bool(guard) and payload.kind == "tool_call"
    may_end = (
        not guards
        and payload.kind in payload.hooks.stop_kinds
        and (stops or (bool(guard) and payload.kind == "permission"))
    )
    if not (event_type or may_end):
        return b""
    try:
        session = Session(payload)
    except (Unwritable, OSError) as error:
        if guards and (answer := _answer_without_store(payload)):
            _complain(str(error))
            return answer
        raise
    with session:
        if guards and (refused := _refused(session, event_type, data, stops=stops)) is not None:
            return refused
        answer = b""
        if event_type:
            answer = _recorded(session, event_type, data, guard=bool(guard), waits=stops)
        return (may_end and _end(session, stops=stops)) or answer


def _recorded(
    session: "Session", event_type: str, data: Fields, *, guard: bool, waits: bool
) -> bytes:
    """Record the event; return the answer that gives the agent its hint, b"" for none.

    waits: reach the verdict before the agent goes on.
    """
    payload = session.payload
    hint = take_hint(payload)
    if hint and hint[1]:
        session.record(event_type, data, hint[1])
        return dumps(hint[0]) + b"\n"
    where = (session.store, session.folder, payload, session.directory)
    if payload.kind == "session_end":
        from agent_pipes.hooks.background import catch_up

        catch_up(*where, guard=False)
    session.record(event_type, data)
    if payload.answers or payload.kind in ("assistant_response", "subagent_stop"):
        from agent_pipes.hooks.background import catch_up, catch_up_in_background

        (catch_up if waits else catch_up_in_background)(*where, guard=guard)
    return dumps(hint[0]) + b"\n" if hint else b""


def _refused(session: "Session", event_type: str, data: Fields, *, stops: bool) -> bytes | None:
    """Return the answer to a call that must not be made and record both; None if it may be."""
    from agent_pipes.hooks.guard import answer_to_call

    answer = answer_to_call(session.payload, session.folder, session.directory, stops=stops)
    if answer is None:
        return None
    try:
        session.record(event_type, data, answer.denial)
    except (Unwritable, OSError) as error:
        _complain(str(error))
    return answer.text


def _end(session: "Session", *, stops: bool) -> bytes:
    """Return the answer that ends the run, b"" if it may go on."""
    from agent_pipes.hooks.guard import answer_that_ends

    return answer_that_ends(session.payload, session.folder, session.directory, stops=stops)


def _answer_without_store(payload: Payload) -> bytes:
    """Return the denial of a call that is out of scope, if nothing can be recorded."""
    from agent_pipes.hooks.guard import out_of_scope

    denial = out_of_scope(payload, _directory(payload))
    return denial.text if denial else b""


def _parsed(content: bytes) -> Fields:
    for record in objects(content):
        return record
    raise UnknownPayload("nothing on standard input: an agent's hook payload is expected there")


class Session:
    """A session in the store, changed by one payload."""

    def __init__(self, payload: Payload) -> None:
        """Open the session, created if missing. Raise Unwritable and OSError."""
        self.payload = payload
        self.store = Store(*locate_store(payload.cwd, payload.session))
        try:
            self.folder = self.store.folder(payload.session)
        except BaseException:
            self.store.close()
            raise
        self.meta = self.folder.read(META)
        self.process = _process(payload) if payload.kind == "session_start" or not self.meta else {}

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.folder.close()
        self.store.close()

    @property
    def directory(self) -> str:
        """Directory in which the session began."""
        noted = self.meta.get("attribution")
        where = noted.get("working_dir") if type(noted) is dict else ""
        return where if type(where) is str and where else _directory(self.payload)

    def record(self, event_type: str, data: Fields, denial: str = "") -> None:
        """Append the event, and its refusal if there is a `denial`; update the store."""
        with self.store.locked() as alone:
            if not alone:
                _complain(
                    f"{self.store.path}: timed out waiting for the store's lock; writing without it"
                )
            self.meta = self.folder.read(META)
            events = self._events(event_type, data, denial)
            if not events:
                return
            self.folder.append(events, alone=alone)
            self._note(events)

    def _events(self, event_type: str, data: Fields, denial: str) -> list[Fields]:
        payload = self.payload
        event: Fields = {
            "event_type": event_type,
            "timestamp": payload.time,
            "event_id": os.urandom(6).hex(),
            "session_id": payload.session,
        }
        if payload.kind == "tool_call":
            if payload.cwd and payload.cwd != self.directory:
                data = {**data, "cwd": payload.cwd}
            if not denial:
                return [{**event, "data": data}] if self._opened(event) else []
            why = {
                "tool_name": payload.tool,
                "error": denial,
                "reason": "tool",
                **payload.details(),
            }
            refusal = {
                **event,
                "event_type": "error",
                "event_id": os.urandom(6).hex(),
                "parent_id": event["event_id"],
                "data": why,
            }
            return [{**event, "data": data}, refusal]
        if payload.answers:
            event |= self._closed()
        elif payload.kind == "session_start" and self.process:
            data = {**data, "process": self.process}
        elif payload.kind == "session_end" and type(began := self.meta.get("started_at")) is float:
            data = {"duration_ms": max(0.0, payload.time - began) * 1000, **data}
        return [{**event, "data": data}]

    def _opened(self, event: Fields) -> bool:
        """Record a call that waits for its result.

        Return False if a second hook reports it again.
        """
        payload = self.payload
        calls = self.store.read(self._file("pending-calls", ".json"))
        if payload.call and any(
            type(call) is dict and call.get("tool_use_id") == payload.call
            for call in calls.values()
        ):
            return False
        call = {
            "session_id": payload.session,
            "tool_name": payload.tool,
            "tool_use_id": payload.call or payload.ticket,
            "timestamp": payload.time,
        }
        calls[event["event_id"]] = call
        self._wait(dict(list(calls.items())[-MAX_PENDING_CALLS:]))
        return True

    def _closed(self) -> Fields:
        """Return the fields that tie a result to its call: the call's id and the time it took."""
        payload = self.payload
        calls = self.store.read(self._file("pending-calls", ".json"))
        ticket = payload.call or payload.ticket
        same = [
            name
            for name, call in calls.items()
            if type(call) is dict and call.get("tool_use_id") == ticket
        ]
        like = [
            name
            for name, call in calls.items()
            if type(call) is dict and call.get("tool_name") == payload.tool and not payload.call
        ]
        took = payload.hooks.duration_ms(payload.record)
        for name in (*same, *like):
            call = calls.pop(name)
            self._wait(calls)
            began = call.get("timestamp")
            if took is None and type(began) is float:
                took = round(max(0.0, payload.time - began) * 1000, 3)
            return {"parent_id": name} | ({} if took is None else {"duration_ms": took})
        return {} if took is None else {"duration_ms": took}

    def _wait(self, calls: Fields) -> None:
        name = self._file("pending-calls", ".json")
        if calls:
            self.store.replace(name, dumps(calls))
        else:
            self.store.remove(name)

    def _file(self, kind: str, suffix: str = "") -> str:
        """Return the name of a state file of this session."""
        agent, name = self.payload.agent, self.payload.name
        readable = name[:16].encode(errors="surrogatepass").hex()
        whole = sha256(f"{agent}\0{name}".encode(errors="surrogatepass")).hexdigest()
        return f".{kind}.v2.{agent}.{readable}.{whole}{suffix}"

    def _note(self, events: list[Fields]) -> None:
        """Update the session's meta.json, and mark the session as active."""
        payload = self.payload
        begins = payload.kind == "session_start" or not self.meta
        goes_on = payload.kind in ("session_start", "user_prompt", "tool_call")
        if not self.meta:
            self.meta = self._meta()
        elif goes_on and "ended_at" in self.meta:
            begins = True
            del self.meta["ended_at"]
        attribution = self.meta.get("attribution")
        if self.process and type(attribution) is dict:
            attribution["agent_process"] = self.process
        for kind, key in (("tool_call", "tool_calls"), ("error", "errors")):
            if count := sum(event["event_type"] == kind for event in events):
                before = self.meta.get(key)
                self.meta[key] = (before if type(before) is int else 0) + count
        if payload.kind == "session_end":
            self.meta["ended_at"] = payload.time
            self.meta["total_duration_ms"] = events[0]["data"].get("duration_ms", 0.0)
        self.folder.replace(META, dumps(self.meta))
        if begins:
            for name in (".active-session", self._file("active-session")):
                self.store.replace(name, payload.session.encode())
        elif payload.kind == "session_end":
            self.store.remove(self._file("active-session"))
            if self.store.text(".active-session") == payload.session:
                self.store.remove(".active-session")

    def _meta(self) -> Fields:
        payload = self.payload
        name = payload.hooks.store_name
        how = (
            (payload.text("source") or "startup")
            if payload.kind == "session_start"
            else "no session-start"
        )
        meta = {
            "session_id": payload.session,
            "started_at": payload.time,
            "agent_name": name,
            "command": f"{name} ({how})",
        }
        if workspace := os.environ.get("AGENT_STRACE_WORKSPACE"):
            meta["workspace_id"] = workspace
        who = {"os_user": _user(), "hostname": os.uname().nodename, "agent_provider": payload.agent}
        return {**meta, "attribution": {**who, "working_dir": _directory(payload)}}


def _directory(payload: Payload) -> str:
    return payload.cwd if os.path.isabs(payload.cwd) and os.path.isdir(payload.cwd) else os.getcwd()


def _process(payload: Payload) -> Fields:
    """Return PID and start time of the agent; {} if none of our ancestors is it."""
    from agent_pipes.agents.processes import nearest
    from agent_pipes.agents.registry import agent

    try:
        found = nearest(agent(payload.agent))
    except OSError:
        return {}
    return {"pid": found.pid, "started": found.started} if found else {}


def _user() -> str:
    from pwd import getpwuid

    try:
        return getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
