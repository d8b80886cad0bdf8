"""A hint that trace-nudge has left for a session: given to the agent with its next call."""

from agent_pipes.agents.base_hooks import Payload
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.runtime_dir import read_state, remove_state

KIND = "nudge"

MAX_AGE_S = 3600
"""Seconds after which a hint is about something that is over."""


def take_hint(payload: Payload) -> tuple[Fields, str] | None:
    """Return the answer that gives the agent its hint, and why if it is a denial; else None.

    An agent whose hooks can add to the model's context gets it there, another one as the denial
    of its next call. A prompt of the user takes the hint back.
    """
    in_context = payload.kind in payload.hooks.context_kinds
    as_denial = payload.kind == "tool_call" and not payload.hooks.context_kinds
    if not (in_context or as_denial or payload.kind == "user_prompt"):
        return None
    for session in dict.fromkeys((payload.name, payload.session)):
        hint = read_state(KIND, session)
        if hint is None:
            continue
        remove_state(KIND, session)
        text, left = hint.get("text"), hint.get("time")
        if (
            payload.kind == "user_prompt"
            or type(text) is not str
            or not isinstance(left, (int, float))
            or payload.time - left > MAX_AGE_S
        ):
            continue
        if in_context:
            return payload.hooks.context(f"agent-strace: {text}", payload.event), ""
        # detect.outcomes knows these words: such a denial is no failure.
        why = f"agent-strace denies this call once: {text}"
        return payload.hooks.denial(why), why
    return None
