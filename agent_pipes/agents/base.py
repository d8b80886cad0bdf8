"""The Agent class: everything that is asked of an agent, with defaults.

An agent is a folder here and a line in registry.py. Nobody outside its folder knows it by name.
"""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol

from agent_pipes.core.jsonl import Fields

if TYPE_CHECKING:
    from pathlib import Path

    from agent_pipes.process.table import Identity

ProcessFoundBy = Literal["registry", "fd", "cwd", "hook", "given"]
"""Origin of a session's process, as `process` events have it in `how`.

registry: the agent's own files name it.
fd:       it holds a file of the session open.
cwd:      it works in the session's directory.
hook:     a hook has recorded it.
given:    the user names it.
"""


class Session(NamedTuple):
    """A session stored on this machine.

    agent:    name of the agent whose format it has.
    id:       the session's id, as the agent writes it.
    cwd:      directory the agent works in, "" if unknown.
    path:     main file.
    started:  seconds since the epoch, 0.0 if unknown.
    modified: last change of the main file, seconds since the epoch.
    """

    agent: str
    id: str
    cwd: str
    path: "Path"
    started: float
    modified: float


class SessionFolder(NamedTuple):
    """A folder in which a change may concern a session.

    depth: levels of folders in it for which the same holds.
    """

    path: "Path"
    depth: int


class Translator(Protocol):
    """Turns the lines of one session, from all of its files, into events. State, but no I/O."""

    session: str

    def translate(self, record: Fields, arrival: float, path: str = "") -> Iterator[Fields]:
        """Yield the events of `record`.

        `arrival` (seconds since the epoch) replaces a time that the record lacks.
        """

    def end(self) -> Iterator[Fields]:
        """Yield what is still held back at the end of the input."""


class RowReader(Protocol):
    """Reader of a session that is stored as rows of a database.

    log: the path of the file that is written before rows can be read.
    """

    log: str

    def read(self) -> list[bytes]:
        """Return the lines that are new since the last call; does not wait."""

    def close(self) -> None:
        """Release the database."""


class InterruptError(Exception):
    """A session could not be interrupted over its control socket; the message is for users."""


class Agent:
    """An agent: where its sessions are, how they are read, which process runs one, what ends it.

    name:             short name, as users type it.
    title:            name for users.
    programs:         names of its program on PATH.
    package:          npm package, "" if there is none.
    resume_command:   command that resumes the session `{id}`, "" if there is none.
    is_native:        lines are events already and pass unchanged.
    process_found_by: how the process of a session becomes known.
    env_marker:       environment variable that a session's tools have, with the session's id as its
                      value; "" if there is none.
    needs_process:    a session can only be live while a program of this agent runs.
    document_suffix:  suffix of files that are one JSON document, rewritten on each change; "" if
                      there are none.
    refusal:          what a session is that is recognised and cannot be read; "" if it can.
    has_control_socket: one process may serve several sessions and can be asked to end one.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    programs: ClassVar[Sequence[str]] = ()
    package: ClassVar[str] = ""
    resume_command: ClassVar[str] = ""
    is_native: ClassVar[bool] = False
    process_found_by: ClassVar[ProcessFoundBy] = "registry"
    env_marker: ClassVar[str] = ""
    needs_process: ClassVar[bool] = True
    document_suffix: ClassVar[str] = ""
    refusal: ClassVar[str] = ""
    has_control_socket: ClassVar[bool] = False

    # Sessions.

    def homes(self) -> "list[Path]":
        """Return the directories in which the agent keeps its sessions and settings."""
        return []

    def sessions(self) -> Iterator[Session]:
        """Yield every session stored here."""
        return iter(())

    def recent_sessions(self, since: float) -> Iterator[Session]:
        """Yield the sessions that changed after `since` (seconds since the epoch) or may be live.

        Others may be yielded, too.
        """
        return self.sessions()

    def maybe_live_sessions(self, since: float) -> Iterator[Session]:
        """Yield the recent sessions without those that are certain not to be live."""
        return self.recent_sessions(since)

    def sessions_in(self, directories: frozenset[str]) -> Iterator[Session]:
        """Yield the sessions that work in one of `directories`, which are real paths.

        Others may be yielded, too.
        """
        return self.sessions()

    def sessions_named(self, beginning: str) -> Iterator[Session]:
        """Yield the sessions whose id begins with `beginning`. Others may be yielded, too."""
        return self.sessions()

    def session_folders(self) -> list[SessionFolder]:
        """Return the folders in which sessions, and signs that one is live, appear."""
        return []

    def sessions_at(self, path: "Path") -> list[Session] | None:
        """Return the sessions that a change of `path` concerns; None if any may be concerned."""
        return None

    def files(self, session: Session) -> "list[Path]":
        """Return the files of a session: the main file, then those of its subagents."""
        return [session.path]

    def folders(self, session: Session) -> "list[Path]":
        """Return the folders in which files of the session's subagents may appear."""
        return []

    def successor(self, session: Session) -> Session | None:
        """Return the session that the same process has opened since; None if there is none."""
        return None

    def restart_signal(self, session: Session) -> str:
        """Return the signal that ends a session whose supervisor restarts it after SIGTERM.

        "" for a session that the agent's own supervisor does not restart.
        """
        return ""

    def is_closed(self, session: Session) -> bool:
        """Return True if it is certain that no process works in the session."""
        return False

    def is_active(self, session: Session) -> bool:
        """Return True if the agent says that somebody works in the session."""
        return False

    def state(self, session: Session) -> Fields:
        """Return the data of a `waiting` event: whom the agent says that it waits for now.

        Empty if it does not say. `for` is `nobody` while it works; `status` is its own word.
        """
        return {}

    # Translation.

    def recognises(self, record: Fields) -> bool:
        """Return True if `record` is a line of one of this agent's formats."""
        return False

    def may_matter(self, line: bytes) -> bool:
        """Return False if a line is certain to give no event: a test before it is parsed."""
        return True

    def may_record_usage(self, line: bytes) -> bool:
        """Return False if a line is certain to give no llm_response and no session_start."""
        return self.may_matter(line)

    def may_be_prompt(self, line: bytes) -> bool:
        """Return False if a line is certain to give no user_prompt and no session event."""
        return self.may_matter(line)

    def is_document(self, path: "Path") -> bool:
        """Return True if `path` is one JSON document instead of a line for each event."""
        return bool(self.document_suffix) and path.suffix == self.document_suffix

    def row_reader(self, path: "Path") -> RowReader | None:
        """Return a reader of the session at `path`; None if it is a file."""
        return None

    def translator(self, max_result: int = 4096, recorded: bool = False) -> Translator:
        """Return a translator for one session.

        max_result: bytes of a result that an event carries.
        recorded:   keep token counts as recorded, known placeholders included.
        """
        raise NotImplementedError(f"{self.name} has no sessions that can be read")

    # Processes.

    def process(self, session: Session) -> "Identity | None":
        """Return the live process of a session; None if it is not known for certain."""
        return None

    def is_program(self, executable: str, arguments: Sequence[str]) -> bool:
        """Return True if a process is this agent and serves one session.

        executable: path of the program, "" if unknown.
        arguments:  command line, not empty.
        """
        return False

    def marker(self, session: str, pid: int) -> str:
        """Return the `NAME=VALUE` that a session's tools have in their environment, "" for none.

        session: the session's id.
        pid:     the agent's process.
        """
        return f"{self.env_marker}={session}" if self.env_marker else ""

    def control_socket(self, session: Session) -> "Path | None":
        """Return the socket that ends the session, if its process serves other sessions too."""
        return None

    def interrupt(self, control: "Path", session: str) -> bool:
        """Interrupt a session over its control socket; return False if no turn was running.

        Raise InterruptError if that failed.
        """
        raise InterruptError(f"{self.name} has no control socket")


def home_from(variable: str, *name: str) -> "Path":
    """Return the directory that `variable` names, else the one called `name` in $HOME."""
    from pathlib import Path

    given = os.environ.get(variable)
    return Path(given) if given else Path(os.path.expanduser("~"), *name)
