"""Answer to a call before it is made.

A call is denied if it is out of scope, or the breaker has tripped.

The limits are those of .agent-watch.json and .agent-scope.json in the directory where the session
began. The agent waits for the answer, so options and help are not loaded for it.
"""

import os

import orjson

from agent_pipes.agents.base_hooks import Payload
from agent_pipes.agents.store.writer import Folder
from agent_pipes.core.event import make
from agent_pipes.core.jsonl import dumps
from agent_pipes.hooks.verdict import CONFIG, tripped

POLICY = ".agent-scope.json"


class Denial:
    """A call that must not be made. `tripped`: none may be made until a person has written."""

    def __init__(self, why: str, *, tripped: bool) -> None:
        self.tripped = tripped
        verb = (
            "denies this call, as the circuit breaker has tripped"
            if tripped
            else "denies this call"
        )
        advice = (
            "Stop, and tell the user what you have tried."
            if tripped
            else "Do it in another way, or ask the user."
        )
        self.why = f"agent-strace {verb}: {why}. {advice}"


def denial_of(payload: Payload, folder: Folder, directory: str) -> Denial | None:
    """Return why the call must not be made; None if it may be.

    directory: the directory in which the session began.
    """
    if denial := out_of_scope(payload, directory):
        return denial
    why = tripped(folder, directory)
    return Denial(why, tripped=True) if why else None


def out_of_scope(payload: Payload, directory: str) -> Denial | None:
    """Return what the call does against the policy of `directory`; None if it keeps to it."""
    # A policy's paths, and those that it protects, are relative to this directory.
    os.chdir(directory)
    why = _out_of_scope(payload)
    return Denial(why, tripped=False) if why else None


def answer(payload: Payload, denial: Denial) -> bytes:
    """Return the denial in the form that the payload's agent takes."""
    return dumps(payload.hooks.denial(denial.why, tripped=denial.tripped)) + b"\n"


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
