"""Answering a call before it is made: is it out of scope, and has the breaker tripped?

The limits are those of .agent-watch.json and .agent-scope.json in the directory where the session began. What retry,
loop and cost find is worked out after each result (see afterwards.py), so that a call finds it ready.
"""

import os
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import orjson

from agent_pipes.event import Event, Fields, dumps, from_fields, make, objects
from agent_pipes.hooks.payload import Payload
from agent_pipes.hooks.store_writer import Folder

JUDGED = ("retry", "loop", "cost")
"""The watchers that are asked: what they find can be told from what the session holds, and holds until it changes."""

CONFIG, POLICY = ".agent-watch.json", ".agent-scope.json"

_MATTERS = (b'"tool_result"', b'"error"', b'"llm_response"')
_CLEARS = b'"user_prompt"'


class Denial:
    """A call that must not be made. `tripped`: none must be, until a person has said something."""

    def __init__(self, why: str, *, tripped: bool) -> None:
        self.tripped = tripped
        told = "denies this call, as the circuit breaker has tripped" if tripped else "denies this call"
        advice = "Stop, and tell the user what you have tried." if tripped else "Do it in another way, or ask the user."
        self.why = f"agent-strace {told}: {why}. {advice}"


def denied(payload: Payload, folder: Folder, directory: str) -> Denial | None:
    """Why the call must not be made, None where it may be. `directory` is that in which the session began."""
    if denial := out_of_scope(payload, directory):
        return denial
    why = _tripped(folder, directory)
    return Denial(why, tripped=True) if why else None


def out_of_scope(payload: Payload, directory: str) -> Denial | None:
    """What the call does that the policy of `directory` does not allow, None where it does nothing of the kind."""
    # That is where a policy's paths, and the ones that it protects, are resolved.
    os.chdir(directory)
    why = _out_of_scope(payload)
    return Denial(why, tripped=False) if why else None


def answer(payload: Payload, denial: Denial) -> bytes:
    """The denial, in the form in which the payload's agent takes one."""
    why = denial.why
    form: Fields
    if payload.agent in ("claude", "codex"):
        # Nothing more: Codex takes an answer that also says `continue` for none at all, and makes the call.
        form = {"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": why}}
    elif payload.agent == "copilot":
        form = {"permissionDecision": "deny", "permissionDecisionReason": why}
    elif payload.agent == "gemini":
        # The one agent whose run a hook can end.
        form = {"decision": "deny", "reason": why} | ({"continue": False, "stopReason": why} if denial.tripped else {})
    else:
        form = {"permission": "deny", "decision": "deny", "reason": why, "user_message": why, "agent_message": why}
    return dumps(form) + b"\n"


def _out_of_scope(payload: Payload) -> str:
    """What the call does that the policy does not allow. Without a policy only what an agent is watched by is guarded."""
    named = _policy()
    if not named and b".agent" not in dumps(payload.arguments):
        return ""
    from pathlib import Path

    import click

    from agent_pipes.detect_scope import KINDS, Scope
    from agent_pipes.policy import Policy, load

    path = Path(named or POLICY)
    try:
        policy = load(path) if named else Policy(path, {"files": {"write": {"deny": [CONFIG, POLICY]}}})
    except click.ClickException as error:
        return f"the policy cannot be read: {error.message}"
    scope = Scope(policy, strict=False)
    # What cannot be judged is said once a session by trace-detect-scope; here it would be said at each call.
    scope.said |= set(KINDS)
    data = {"tool_name": payload.tool, "arguments": payload.arguments, "cwd": payload.cwd}
    event = make("tool_call", payload.time, payload.session, data)
    return next((finding.message for finding in scope.see(event, payload.time)), "")


def _policy() -> str:
    """The policy's file, "" where there is none, or the config file turns it off."""
    try:
        with open(CONFIG, "rb") as file:
            section = orjson.loads(file.read())["watchers"]["scope"]
        named = section if section is False else section["policy"]
    except (OSError, ValueError, TypeError, KeyError):
        named = None
    if named is False:
        return ""
    if type(named) is str:
        return named
    return POLICY if os.path.lexists(POLICY) else ""


def _tripped(folder: Folder, directory: str) -> str:
    """Why the session must not go on, by the judgement that is noted, or by one of our own where that is out of date."""
    from agent_pipes.hooks.afterwards import LOCK, NOTES, PATIENCE

    noted = folder.read(NOTES).get("judged")
    if not _holds(noted, folder, directory):
        with folder.locked(LOCK, PATIENCE):
            notes = folder.read(NOTES)
            noted = notes.get("judged")
            if not _holds(noted, folder, directory):
                noted = notes["judged"] = judge(folder, directory, time.time())
                folder.replace(NOTES, dumps(notes))
    return str(noted["why"]) if type(noted) is dict else ""


def _holds(noted: Any, folder: Folder, directory: str) -> bool:
    """Whether nothing has happened since that could change the judgement."""
    if noted is None:
        noted = {"size": 0, "why": "", "config": _version(directory)}
    if type(noted) is not dict or type(noted.get("size")) is not int or type(noted.get("why")) is not str:
        return False
    if noted.get("config") != _version(directory) or noted["size"] > folder.size():
        return False
    matters = (*_MATTERS, _CLEARS) if noted["why"] else _MATTERS
    return not any(kind in line[:60] for line in folder.tail(noted["size"]).splitlines() for kind in matters)


def _version(directory: str) -> list[int]:
    """What changes when the config file does."""
    try:
        about = os.stat(os.path.join(directory, CONFIG))
    except OSError:
        return []
    return [about.st_mtime_ns, about.st_size]


def judge(folder: Folder, directory: str, now: float) -> Fields:
    """What the limits say of the session as it stands: `why` it must not go on ("" if it may), and of how much of it."""
    import click

    version = _version(directory)
    content = folder.tail(0)
    whole = content.rfind(b"\n") + 1
    try:
        why = _violation(content[:whole], folder.session, directory, now)
    except click.ClickException as error:
        why = f"its limits cannot be read: {error.format_message()}"
    return {"size": whole, "why": why, "config": version}


def _violation(content: bytes, session: str, directory: str, now: float) -> str:
    """What still holds at the end of these events, of all that is a violation."""
    from agent_pipes.detect_cost import detect_cost
    from agent_pipes.detect_loop import detect_loop
    from agent_pipes.detect_retry import detect_retry
    from agent_pipes.stream import Waiter

    limits, off = _limits(os.path.join(directory, CONFIG))
    # All of it is history: what was violated and is over stops nothing, and what still holds is raised where it ends.
    begin, end = make("history_start", 0.0, session, {}), make("history_end", now, session, {})
    events: Iterable[Event] = chain([begin], _events(content), [end])
    for name, part in zip(JUDGED, (detect_retry, detect_loop, detect_cost), strict=True):
        if name not in off:
            values = {str(option.name): limits[option.key] for option in part.options if option.key in limits and not option.key.endswith(".alert")}
            events = part.stage(Waiter(), **values)(events)
    found = [event for event in events if event.type == "violation" and event.data.get("level") != "warning"]
    # How to raise the limit is for people, not for the agent.
    return min(found, key=lambda event: JUDGED.index(event.text("watcher"))).text("message").partition("; raise ")[0] if found else ""


def _limits(path: str) -> tuple[dict[str, Any], set[str]]:
    if not os.path.lexists(path):
        return {}, set()
    from pathlib import Path

    from agent_pipes import config
    from agent_pipes.watch import WATCHERS, preset_options

    return config.load(Path(path), preset_options(), WATCHERS)


def _events(content: bytes) -> Iterator[Event]:
    """The events, but for the session's end: one that was taken up again is judged as one."""
    for line in content.splitlines():
        try:
            for fields in objects(line):
                if fields.get("event_type") != "session_end":
                    yield from_fields(fields)
        except ValueError:
            continue
