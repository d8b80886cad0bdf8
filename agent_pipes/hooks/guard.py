"""Answering a call before it is made: is it out of scope, and has the breaker tripped?

The limits are those of .agent-watch.json and .agent-scope.json in the directory where the session began. The agent
waits for the answer, so what reads options and draws help is not loaded for it.
"""

import os

import orjson

from agent_pipes.agents.store.writer import Folder
from agent_pipes.core.event import make
from agent_pipes.core.jsonl import Fields, dumps
from agent_pipes.hooks.payload import Payload
from agent_pipes.hooks.verdict import CONFIG, tripped

POLICY = ".agent-scope.json"


class Denial:
    """A call that must not be made. `tripped`: none must be, until a person has said something."""

    def __init__(self, why: str, *, tripped: bool) -> None:
        self.tripped = tripped
        told = (
            "denies this call, as the circuit breaker has tripped"
            if tripped
            else "denies this call"
        )
        advice = (
            "Stop, and tell the user what you have tried."
            if tripped
            else "Do it in another way, or ask the user."
        )
        self.why = f"agent-strace {told}: {why}. {advice}"


def denied(payload: Payload, folder: Folder, directory: str) -> Denial | None:
    """Why the call must not be made, None where it may be. `directory` is that in which the session began."""
    if denial := out_of_scope(payload, directory):
        return denial
    why = tripped(folder, directory)
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
        form = {
            "hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "deny",
                "permissionDecisionReason": why,
            }
        }
    elif payload.agent == "copilot":
        form = {"permissionDecision": "deny", "permissionDecisionReason": why}
    elif payload.agent == "gemini":
        # The one agent whose run a hook can end.
        form = {"decision": "deny", "reason": why} | (
            {"continue": False, "stopReason": why} if denial.tripped else {}
        )
    else:
        form = {
            "permission": "deny",
            "decision": "deny",
            "reason": why,
            "user_message": why,
            "agent_message": why,
        }
    return dumps(form) + b"\n"


def _out_of_scope(payload: Payload) -> str:
    """What the call does that the policy does not allow. Without a policy only what an agent is watched by is guarded."""
    named = _policy()
    if not named and b".agent" not in dumps(payload.arguments):
        return ""
    from agent_pipes.scope.evaluate import SessionScope
    from agent_pipes.scope.policy import Policy, PolicyError
    from agent_pipes.scope.policy_file import load_policy

    try:
        policy = (
            load_policy(named)
            if named
            else Policy(POLICY, {"files": {"write": {"deny": [CONFIG, POLICY]}}})
        )
    except PolicyError as error:
        return f"the policy cannot be read: {error}"
    data = {"tool_name": payload.tool, "arguments": payload.arguments, "cwd": payload.cwd}
    return (
        SessionScope(policy)
        .evaluate(make("tool_call", payload.time, payload.session, data))
        .message
    )


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
