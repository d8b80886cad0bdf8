"""Registry of the agents: one line each. An agent is loaded when it is first asked for."""

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, cast

from agent_pipes.core.jsonl import Fields

if TYPE_CHECKING:
    from pathlib import Path

    from agent_pipes.agents.base import Agent
    from agent_pipes.agents.base_hooks import Hooks


class Parts(NamedTuple):
    """Parts that an agent's folder has.

    sessions: session files that can be read.
    hooks:    hooks that call `agent-strace hook`.
    """

    sessions: bool
    hooks: bool


AGENTS = {
    "store": Parts(sessions=True, hooks=False),
    "native": Parts(sessions=True, hooks=False),
    "kiro": Parts(sessions=False, hooks=False),
    "qwen": Parts(sessions=True, hooks=False),
    "claude": Parts(sessions=True, hooks=True),
    "codex": Parts(sessions=True, hooks=True),
    "copilot": Parts(sessions=True, hooks=True),
    "gemini": Parts(sessions=True, hooks=True),
    "opencode": Parts(sessions=True, hooks=False),
    "pi": Parts(sessions=True, hooks=False),
    "cursor": Parts(sessions=False, hooks=True),
}
"""Folders of this room, in the order in which the agents are asked to recognise a line."""

HOOKED = tuple(name for name, parts in AGENTS.items() if parts.hooks)
"""Agents whose hooks can call `agent-strace hook`."""

NAMES = tuple(name for name, parts in AGENTS.items() if parts.sessions)
"""Agents whose sessions can be read."""

STORE = "store"
"""The agent whose sessions another one may have, too: hooks write them beside the agent's own."""


def agent(name: str) -> "Agent":
    """Return the agent called `name`. Raise KeyError if there is none."""
    if name not in AGENTS:
        raise KeyError(name)
    return cast("Agent", import_module(f"agent_pipes.agents.{name}.agent").AGENT)


def hooks(name: str) -> "Hooks":
    """Return the hooks of the agent called `name`."""
    return cast("Hooks", import_module(f"agent_pipes.agents.{name}.hooks").HOOKS)


def every_agent() -> "Iterator[Agent]":
    """Yield the agents whose sessions can be read, in the order of the registry."""
    return (agent(name) for name in NAMES)


def recognised(record: Fields) -> "Agent | None":
    """Return the agent in whose format `record` is; it may be one that cannot be read."""
    return next((each for each in map(agent, AGENTS) if each.recognises(record)), None)


def interrupt(control: "Path", session: str) -> bool:
    """Interrupt a session over a control socket; return False if no turn was running.

    Raise InterruptError if that failed.
    """
    from agent_pipes.agents.base import InterruptError

    for each in every_agent():
        if each.has_control_socket:
            return each.interrupt(control, session)
    raise InterruptError("no agent has a control socket")
