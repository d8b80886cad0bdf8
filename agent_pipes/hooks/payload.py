"""Recognition of the agent whose hook sent a payload."""

from agent_pipes.agents import registry
from agent_pipes.agents.base_hooks import Payload, UnknownPayload
from agent_pipes.agents.fields import string
from agent_pipes.core.jsonl import Fields


def read_payload(record: Fields, arrival: float, agent: str = "", word: str = "") -> Payload:
    """Return the payload in `record`, which arrived at `arrival` (seconds since the epoch).

    agent, word: agent and event, as the command line names them. Raise UnknownPayload.
    """
    hooks = registry.hooks(agent) if agent else None
    if hooks is None:
        event = string(record, "hook_event_name")
        # Claude Code's payloads have nothing that others lack, so the first agent is asked last.
        every = map(registry.hooks, reversed(registry.HOOKED))
        hooks = next((each for each in every if each.recognises(record, event)), None)
    if hooks is None:
        titles = ", ".join(registry.HOOKED)
        raise UnknownPayload(f"not a payload of a known agent's hook ({titles}): no session id")
    return Payload(record, arrival, hooks, word)
