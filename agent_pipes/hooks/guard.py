"""Answer to a call before it is made.

A call is denied if it is out of scope, or the breaker has tripped.

The limits are those of .agent-watch.json and .agent-scope.json in the directory where the session
began. The agent waits for the answer, so options and help are not loaded for it.
"""

import os
from typing import NamedTuple

import orjson

from agent_pipes.agents.base_hooks import Payload
from agent_pipes.agents.store.writer import Folder
from agent_pipes.core.event import make
from agent_pipes.core.jsonl import Fields, dumps
from agent_pipes.hooks.verdict import CONFIG, TRIPPED, note_permission, tripped

POLICY = ".agent-scope.json"

MAX_DENIALS = 2
"""Calls denied after a trip, the last of which ends the run: one lets the model read the reason."""


class Answer(NamedTuple):
    """The answer to a call that must not be made.

    text:   in the form of the payload's agent; empty if the next hook gives it.
    denial: why the call is denied, "" if its user decides.
    """

    text: bytes
    denial: str


def answer_to_call(
    payload: Payload, folder: Folder, directory: str, *, stops: bool
) -> Answer | None:
    """Return the answer to a call that must not be made; None if it may be.

    directory: the directory in which the session began.
    stops:     end the run as soon as the breaker has tripped.
    """
    if answer := out_of_scope(payload, directory):
        return answer
    trip = tripped(folder, directory)
    if trip is None:
        return None
    asked = f"agent-strace: the circuit breaker has tripped: {trip.why}. Make this call anyway?"
    if not stops and (question := payload.hooks.question(payload, asked)):
        return Answer(_line(question), "")
    advice = "Stop, and tell the user what you have tried."
    why = f"agent-strace denies this call, {TRIPPED}: {trip.why}. {advice}"
    if stops or trip.denials + 1 >= MAX_DENIALS:
        if "tool_call" in payload.hooks.stop_kinds:
            return Answer(_line(payload.hooks.stop(payload, why)), why)
        if "permission" in payload.hooks.stop_kinds and payload.tool in trip.permissions:
            # The client asks for permission next, and that answer ends the run.
            return Answer(b"", why)
    return Answer(_line(payload.hooks.denial(why)), why)


def answer_that_ends(payload: Payload, folder: Folder, directory: str, *, stops: bool) -> bytes:
    """Return the answer that ends the run, to a payload that is no call; b"" if it may go on."""
    if payload.kind == "permission":
        note_permission(folder, payload.tool)
    trip = tripped(folder, directory)
    if trip is None or not (stops or trip.denials >= MAX_DENIALS):
        return b""
    why = f"agent-strace ends this run, {TRIPPED}: {trip.why}. It goes on with your next prompt."
    return _line(payload.hooks.stop(payload, why))


def out_of_scope(payload: Payload, directory: str) -> Answer | None:
    """Return the denial of a call against the policy of `directory`; None if it keeps to it."""
    # A policy's paths, and those that it protects, are relative to this directory.
    os.chdir(directory)
    found = _out_of_scope(payload)
    if not found:
        return None
    why = f"agent-strace denies this call: {found}. Do it in another way, or ask the user."
    return Answer(_line(payload.hooks.denial(why)), why)


def _line(answer: Fields) -> bytes:
    return dumps(answer) + b"\n"


def _out_of_scope(payload: Payload) -> str:
    """Return what the call does against the policy, "" if it keeps to it.

    Without a policy only the policy and config files are protected.
    """
    for name in (CONFIG, path := _policy()):
        # A pipe in their place would make the agent wait for whoever writes to it.
        if name and os.path.exists(name) and not os.path.isfile(name):
            return f"{name} cannot be read: not a regular file"
    if not path and b".agent" not in dumps(payload.arguments):
        return ""
    from agent_pipes.scope.evaluate import SessionScope
    from agent_pipes.scope.policy import Policy, PolicyError
    from agent_pipes.scope.policy_file import load_policy

    try:
        policy = load_policy(path) if path else Policy(POLICY, {}, may_be_empty=True)
    except PolicyError as error:
        return f"the policy cannot be read: {error}"
    data = {"tool_name": payload.tool, "arguments": payload.arguments, "cwd": payload.cwd}
    return (
        SessionScope(policy)
        .evaluate(make("tool_call", payload.time, payload.session, data))
        .message
    )


def _policy() -> str:
    """Return the policy's path, "" if there is none or the config turns it off."""
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(CONFIG, flags), "rb") as file:
            section = orjson.loads(file.read())["watchers"]["scope"]
        path = section if section is False else section["policy"]
    except (OSError, ValueError, TypeError, KeyError):
        path = None
    if path is False:
        return ""
    if type(path) is str:
        return path
    return POLICY if os.path.lexists(POLICY) else ""
