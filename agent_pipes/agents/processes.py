"""Which process is the agent: told apart from the wrappers, shells and hooks around it by its program."""

import os

from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern
from agent_pipes.process.table import Identity, ancestors, command_line, cwd, identify, user


def nearest(agent: str) -> Identity | None:
    """The nearest of our ancestors that is `agent`: below its wrapper, which a signal would not reach it through."""
    return next((each for each in ancestors(os.getpid()) if runs(agent, each.pid)), None)


def noted(agent: str, said: Fields, directory: str) -> Identity | None:
    """The process that a note (`pid`, `started`) names, if it is to be believed.

    Whoever may write the note can write any number there. So it counts only when the process of that number runs, began
    when the note says, is ours, is `agent` by its program, and works in `directory` or beneath it.
    """
    pid, started = said.get("pid"), said.get("started")
    if type(pid) is not int or pid <= 1 or type(started) is not str or not os.path.isabs(directory):
        return None
    where, outer = os.path.realpath(cwd(pid) or "/"), os.path.realpath(directory)
    if where != outer and not where.startswith(outer.rstrip("/") + "/"):
        return None
    if user(pid) != os.getuid() or not runs(agent, pid):
        return None
    # Looked up last: what was found above is then of the process that still runs, as its start time does not change.
    identity = identify(pid)
    return identity if identity == Identity(pid, started) else None


def runs(agent: str, pid: int) -> bool:
    """Whether the process `pid` is `agent`, and serves one session: a daemon that serves several is none."""
    arguments = command_line(pid)
    if not arguments:
        return False
    if agent == "claude":
        from agent_pipes.agents.claude.sessions import is_claude

        return is_claude(_program(pid), arguments)
    if agent == "copilot":
        from agent_pipes.agents.copilot.sessions import is_copilot

        return is_copilot(arguments)
    if agent == "gemini":
        from agent_pipes.agents.gemini.sessions import is_gemini

        return is_gemini(arguments)
    return {"codex": is_codex, "cursor": is_cursor}.get(agent, lambda words: False)(arguments)


def is_codex(arguments: list[str]) -> bool:
    """Whether a command line is Codex's own program, running one session."""
    return os.path.basename(arguments[0]) == "codex" and {"app-server", "mcp-server"}.isdisjoint(
        arguments[1:]
    )


_CURSOR = pattern(r"(^|/)cursor-agent(/|$)")


def is_cursor(arguments: list[str]) -> bool:
    """Whether a command line is Cursor's agent of the terminal. The editor is none: with it everything in it would end."""
    script = next((each for each in arguments[1:] if not each.startswith("-")), "")
    return _CURSOR.search(arguments[0]) is not None or (
        os.path.basename(arguments[0]).startswith("node") and _CURSOR.search(script) is not None
    )


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    except OSError:
        return ""
