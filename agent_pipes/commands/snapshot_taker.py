"""Snapshots of work trees, taken by git in a thread."""

import os
import re
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.digests import sha256
from agent_pipes.core.event import Event, make
from agent_pipes.core.stderr import warn
from agent_pipes.process import helpers
from agent_pipes.process.table import Identity, alive

GIT_TIMEOUT_S = 120
"""Seconds that one call of git may take: a first snapshot reads every file."""

MAX_SESSIONS = 10_000

SAFE_CONFIG = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
"""Settings that keep git from running programs that the repository names."""

ADD_INCOMPLETE = 1
"""Exit status of `git add --ignore-errors` that could not add all files."""

AUTHOR = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "agent-pipes"), ("EMAIL", "agent-pipes@localhost"))
}


@dataclass(frozen=True, slots=True)
class Request:
    """A snapshot to be taken: of which session, where, when (`start`, `violation`), and why."""

    session: str
    directory: str
    at: str
    message: str
    time: float
    cause: str


class Snapshots:
    """Takes snapshots in a thread, in the order in which they are called for."""

    def __init__(self, at: Iterable[str]) -> None:
        self._at = frozenset(at)
        self._directories: BoundedDict[str, str] = BoundedDict(MAX_SESSIONS)
        self._history: set[str] = set()
        self._live: BoundedDict[str, None] = BoundedDict(MAX_SESSIONS)
        self._begun: BoundedDict[str, None] = BoundedDict(MAX_SESSIONS)
        self._requests: SimpleQueue[Request | None] = SimpleQueue()
        self._taken: deque[Event] = deque()
        self._worker: Thread | None = None

    def see(self, event: Event) -> None:
        """Call for a snapshot if the event is a session's start or a violation."""
        kind, session = event.type, event.session
        if kind == "history_start":
            self._history.add(session)
        elif kind == "history_end":
            self._history.discard(session)
        elif kind == "session_start" and event.text("cwd"):
            self._directories.renew(session, event.text("cwd"))
        elif kind == "process" and _is_alive(event):
            # A replayed session has ended, so the work tree of today is not its own.
            self._live.renew(session, None)
        elif kind == "violation" and event.data.get("level") != "warning":
            self._call(event, "violation", event.text("message"))
        if kind in ("history_end", "session_start", "process") and session not in self._history:
            self._start(event)

    def taken(self) -> Iterator[Event]:
        """Yield an event for each snapshot that is complete."""
        while self._taken:
            yield self._taken.popleft()

    def finish(self) -> None:
        """Wait for the snapshots that were called for."""
        if self._worker:
            self._requests.put(None)
            self._worker.join()

    def _start(self, event: Event) -> None:
        session = event.session
        if session in self._live and session in self._directories and session not in self._begun:
            self._begun[session] = None
            self._call(event, "start", "start of the session")

    def _call(self, event: Event, at: str, message: str) -> None:
        session = event.session
        directory = self._directories.get(session)
        if at not in self._at or directory is None or session not in self._live:
            return
        if self._worker is None:
            self._worker = Thread(target=self._work, daemon=True)
            self._worker.start()
        self._requests.put(Request(session, directory, at, message, event.time, event.id))

    def _work(self) -> None:
        while request := self._requests.get():
            try:
                ref, commit = take(request)
            except (OSError, subprocess.SubprocessError) as error:
                warn(f"session {request.session}: no snapshot: {_reason(error)}")
                continue
            data = {"ref": ref, "commit": commit, "at": request.at}
            self._taken.append(
                make("snapshot", request.time, request.session, data, parent=request.cause)
            )
            warn(f"session {request.session}: snapshot {ref} ({commit[:10]})")


def take(request: Request) -> tuple[str, str]:
    """Commit the work tree that has the directory; return the ref and the commit.

    A tree without a change since the last snapshot of the session gets that one's ref. Raises
    OSError and subprocess.SubprocessError.
    """
    top = _git(request.directory, "rev-parse", "--show-toplevel")
    git_dir = _git(request.directory, "rev-parse", "--absolute-git-dir")
    with tempfile.TemporaryDirectory(prefix="agent-pipes-") as folder:
        index = Path(folder, "index")
        try:
            # The user's index knows which files have not changed, so that these are not read. Its
            # time is kept: git reads what changed in the same moment as the index.
            shutil.copy2(Path(git_dir, "index"), index)
        except FileNotFoundError:
            pass
        environment = {**AUTHOR, "GIT_INDEX_FILE": str(index)}
        _add(top, environment)
        tree = _git(top, "write-tree", environment=environment)
    base = f"refs/agent-pipes/{_ref_name(request.session)}"
    found = _git(top, "for-each-ref", "--format=%(refname) %(tree) %(objectname)", f"{base}/")
    refs = sorted(
        (int(name.rpartition("/")[2]), name, old_tree, commit)
        for name, old_tree, commit in (line.split(" ") for line in found.splitlines())
        if name.rpartition("/")[2].isdigit()
    )
    if refs and refs[-1][2] == tree:
        return refs[-1][1], refs[-1][3]
    message = f"{request.at}: {request.message}\n\nSession: {request.session}\n"
    try:
        parents = ["-p", _git(top, "rev-parse", "--verify", "--quiet", "HEAD")]
    except subprocess.CalledProcessError:
        parents = []  # a repository without a commit
    commit = _git(top, "commit-tree", tree, *parents, "-m", message, environment=AUTHOR)
    ref = f"{base}/{refs[-1][0] + 1 if refs else 1}"
    _git(top, "update-ref", ref, commit)
    return ref, commit


def _add(top: str, environment: dict[str, str]) -> None:
    """Add the work tree to the index; report what git cannot add, and go on without it."""
    try:
        _git(top, "add", "--all", "--ignore-errors", environment=environment)
    except subprocess.CalledProcessError as error:
        if error.returncode != ADD_INCOMPLETE:
            raise
        warn(f"{top}: the snapshot is not complete: {_reason(error)}")


def _git(directory: str, *arguments: str, environment: dict[str, str] | None = None) -> str:
    """Return what git prints."""
    words = ["git", "-C", directory, *SAFE_CONFIG, *arguments]
    child = helpers.spawn(
        lambda: subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", **(environment or {})},
            start_new_session=True,
        )
    )
    try:
        out, problem = child.communicate(timeout=GIT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise
    finally:
        helpers.reaped(child.pid)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, words, out, problem)
    return os.fsdecode(out).strip()


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "git is not installed, or the directory is gone"
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        return lines[0] if lines else f"git exited with status {error.returncode}"
    return str(error)


def _ref_name(session: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", session):
        return session
    digest: str = sha256(session.encode("utf-8", "surrogatepass")).hexdigest()
    return digest[:32]


def _is_alive(event: Event) -> bool:
    pid = event.data.get("pid")
    return type(pid) is int and alive(Identity(pid, event.text("started")))
