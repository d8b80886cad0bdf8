"""Gemini CLI's sessions, and the process that runs one."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from agent_pipes.agents.base import Session, SessionFolder
from agent_pipes.agents.fields import objects_in, string, time_of, within
from agent_pipes.agents.folders import entries_of
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.digests import sha256
from agent_pipes.core.jsonl import Fields, parse_line
from agent_pipes.core.lazy_regex import pattern
from agent_pipes.process.table import (
    Identity,
    all_processes,
    began,
    command_line,
    cwd,
    environment_value,
    process_at,
    user,
)

HEAD = 4 << 10
"""Bytes of a session's file that are read to learn its id and start time."""

REMEMBERED = 20_000
"""Files whose first lines are cached."""

MOMENT = 0.5
"""Seconds for which a scan of the machine is valid."""

TOLERANCE = 1.0
"""Seconds by which times of one moment differ: files, processes and logs use several clocks."""


def root() -> Path:
    """Return the directory of the sessions: .gemini/tmp in $GEMINI_CLI_HOME, else in ~."""
    return Path(os.environ.get("GEMINI_CLI_HOME") or os.path.expanduser("~")) / ".gemini" / "tmp"


def sessions() -> Iterator[Session]:
    """Yield every session but subagents'. A log that continues an old document replaces it."""
    names = _names()
    for project in _projects():
        directory = _root_of(Path(project.path), names)
        logs = {
            path.name: path
            for path in sorted((Path(project.path) / "chats").glob("session-*.json*"))
        }
        for name, path in logs.items():
            if path.suffix not in (".json", ".jsonl") or f"{name}l" in logs:
                continue
            with suppress(OSError):
                stat = path.stat()
                name, started = _head(path, stat)
                yield Session("gemini", name or path.stem, directory, path, started, stat.st_mtime)


def session_folders() -> list[SessionFolder]:
    """Return the folder of projects, with the sessions of each below."""
    return [SessionFolder(root(), 2)]


def files(session: Session) -> list[Path]:
    """Return the session's file, then its subagents'."""
    return [
        session.path,
        *sorted(path for folder in folders(session) for path in folder.glob("*.jsonl")),
    ]


def folders(session: Session) -> list[Path]:
    """Return the folder in which files of its subagents may appear."""
    return [session.path.parent / re.sub(r"[^A-Za-z0-9_-]", "_", session.id)]


def process(session: Session) -> Identity | None:
    """Return the live process of a session: the node process below the user's wrapper.

    No file names it. It is found by directory and time: a Gemini of this user in the session's
    directory is in the first session that began there after it, or in the one that /clear made of
    that, or, if it was started to resume one, in the only older one written since. None if two fit.
    """
    if not session.cwd:
        return None
    with suppress(OSError):
        fit = [agent.identity for agent, path in _look().within(session) if path == session.path]
        if len(fit) == 1:
            _ran[session.id] = fit[0]
            return fit[0]
    return None


_ran: BoundedDict[str, Identity] = BoundedDict(REMEMBERED)
"""Process that last ran a session: shows later that it runs another one."""


def successor(session: Session) -> Session | None:
    """Return the session that the same process has opened since (/clear); None if it has none.

    It is known only of a session whose process was: `process` must have found it.
    """
    with suppress(OSError):
        identity = _ran.get(session.id)
        paths = (
            [path for agent, path in _look().within(session) if agent.identity == identity]
            if identity
            else []
        )
        if len(paths) == 1 and paths[0] not in (None, session.path):
            return next((each for each in sessions() if each.path == paths[0]), None)
    return None


@dataclass(frozen=True, slots=True)
class _Agent:
    """A Gemini that is no wrapper; `resumes` if started to resume a session."""

    identity: Identity
    user: int | None
    began: float
    cwd: str
    resumes: bool


@dataclass(frozen=True, slots=True)
class _Look:
    """Result of one scan of the machine, shared by all sessions."""

    at: float
    agents: list[_Agent]
    folders: dict[Path, list[tuple[_Agent, Path | None]]]

    def within(self, session: Session) -> list[tuple[_Agent, Path | None]]:
        """Return the agents in the session's directory, each with the session that it is in."""
        folder = session.path.parent
        if folder not in self.folders:
            here = os.path.realpath(session.cwd)
            owner = session.path.stat().st_uid
            agents = [agent for agent in self.agents if agent.cwd == here and agent.user == owner]
            begun = (
                sorted(
                    (_head(path, path.stat())[1], path) for path in folder.glob("session-*.json*")
                )
                if agents
                else []
            )
            self.folders[folder] = [(agent, _session_of(agent, begun)) for agent in agents]
        return self.folders[folder]


_last: _Look | None = None


def _look() -> _Look:
    global _last
    now = time.monotonic()
    if _last is None or now - _last.at > MOMENT:
        _last = _Look(now, list(_agents()), {})
    return _last


def _agents() -> Iterator[_Agent]:
    lines = {pid: command_line(pid) for pid, row in all_processes().items() if not row.kernel}
    found = {pid for pid, line in lines.items() if is_gemini(line)}
    rows = {pid: row for pid in found if (row := process_at(pid))}
    # A wrapper sets it for the agent that it starts.
    variables = {pid: environment_value(pid, "GEMINI_CLI_NO_RELAUNCH") for pid in rows}
    for pid, row in list(rows.items()):
        # What an agent has forked to run a tool is its double until it executes another program.
        if (
            row.parent in lines
            and lines[pid] == lines[row.parent]
            and variables[pid] == variables.get(row.parent)
        ):
            del rows[pid]
    wrappers = {row.parent for row in rows.values()}
    for pid, row in rows.items():
        # A wrapper that has yet to start its agent is none.
        if pid not in wrappers and (row.parent in found or variables[pid] is not None):
            resumes = any(
                each in ("-r", "--resume") or each.startswith("--resume=") for each in lines[pid]
            )
            if where := cwd(pid):
                yield _Agent(
                    row.identity, user(pid), began(row.identity), os.path.realpath(where), resumes
                )


def _session_of(agent: _Agent, begun: list[tuple[float, Path]]) -> Path | None:
    """Return the session that the agent is in, of those in its directory in order of start."""
    if agent.resumes:
        taken = [
            path
            for started, path in begun
            if started < agent.began - TOLERANCE and path.stat().st_mtime >= agent.began
        ]
        return taken[0] if len(taken) == 1 else None
    own = [(started, path) for started, path in begun if started >= agent.began - TOLERANCE]
    if not own:
        return None
    current = own[0][1]
    if len(own) > 1:
        first = _head(current, current.stat())[0]
        cleared = [
            at for name, at in _cleared(current.parent.parent / "logs.json") if name == first
        ]
        for started, path in own[1:]:
            if any(0 <= started - at <= TOLERANCE for at in cleared):
                current = path
    return current


def _cleared(log: Path) -> list[tuple[str, float]]:
    """Return when sessions were cleared by hand: the prompt log names their first session."""
    said: Any = None
    with suppress(OSError, ValueError):
        said = orjson.loads(log.read_bytes())
    return [
        (string(each, "sessionId"), time_of(each, 0.0))
        for each in objects_in(said)
        if string(each, "message").split(" ")[0] in ("/clear", "/new")
    ]


_SCRIPT = pattern(r"(?:^|/)(?:gemini|gemini\.[cm]?js)$|/gemini-cli/")


def is_gemini(arguments: Sequence[str]) -> bool:
    """Return True if the command line is Gemini CLI's: a JavaScript runtime with its script."""
    program = os.path.basename(arguments[0]) if arguments else ""
    if program not in ("node", "nodejs", "bun"):
        return program == "gemini"
    script = next((each for each in arguments[1:] if not each.startswith("-")), "")
    return _SCRIPT.search(script) is not None


def _projects() -> Iterator["os.DirEntry[str]"]:
    for entry in entries_of(root()):
        with suppress(OSError):
            if entry.is_dir():
                yield entry


def _names() -> dict[str, str]:
    """Return the client's directories by folder name: a short one, formerly a digest."""
    said: Fields | None = None
    with suppress(OSError):
        said = parse_line((root().parent / "projects.json").read_bytes())
    names = {}
    for directory, name in within(said or {}, "projects").items():
        names[sha256(directory.encode(errors="surrogatepass")).hexdigest()] = directory
        if type(name) is str:
            names[name] = directory
    return names


def _root_of(project: Path, names: dict[str, str]) -> str:
    """Return the directory of a project's folder."""
    with suppress(OSError), (project / ".project_root").open("rb") as file:
        if said := os.fsdecode(file.read(HEAD)).strip("\n"):
            return said
    return names.get(project.name, "")


_heads: BoundedDict[tuple[str, int], tuple[str, float]] = BoundedDict(REMEMBERED)
_FIELD = pattern(rb'"(sessionId|startTime)": ?"([^"\\]{1,200})"')


def _head(path: Path, stat: os.stat_result) -> tuple[str, float]:
    """Return the id and start time in a session's first line, or in an old document's head."""
    key = (str(path), stat.st_ino)
    if key not in _heads:
        with path.open("rb") as file:
            said: Fields = {
                name.decode(): value.decode(errors="replace")
                for name, value in reversed(_FIELD.findall(file.read(HEAD)))
            }
        head = string(said, "sessionId"), time_of(said, 0.0, "startTime")
        if not all(head):
            return head
        _heads[key] = head
    return _heads[key]
