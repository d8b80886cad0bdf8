"""Claude Code."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent_pipes.agents.base import Agent, Session, SessionFolder
from agent_pipes.agents.claude import lines, registry, sessions, translate
from agent_pipes.core.jsonl import Fields

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity


class ClaudeCode(Agent):
    """Claude Code 2.0.28 and later, by its transcripts and its process registry."""

    name = "claude"
    title = "Claude Code"
    programs = ("claude",)
    package = "@anthropic-ai/claude-code"
    resume_command = "claude --resume {id}"
    env_marker = "CLAUDE_CODE_SESSION_ID"

    def homes(self) -> list[Path]:
        """Return $CLAUDE_CONFIG_DIR, else ~/.claude and ~/.config/claude."""
        return registry.roots()

    def sessions(self) -> Iterator[Session]:
        """Yield every transcript, and the live sessions that have written none yet."""
        return sessions.sessions()

    def recent_sessions(self, since: float) -> Iterator[Session]:
        """Yield the sessions that changed after `since` or may be live."""
        return sessions.sessions(since)

    def session_folders(self) -> list[SessionFolder]:
        """Return the folders in which sessions appear."""
        return sessions.session_folders()

    def sessions_at(self, path: Path) -> list[Session] | None:
        """Return the sessions that a change of `path` concerns."""
        return sessions.sessions_at(path)

    def files(self, session: Session) -> list[Path]:
        """Return the transcript, then those of subagents."""
        return sessions.files(session)

    def folders(self, session: Session) -> list[Path]:
        """Return the folders of subagents' transcripts."""
        return sessions.folders(session)

    def successor(self, session: Session) -> Session | None:
        """Return the session that the process has opened since by /clear, /resume or /branch."""
        return sessions.successor(session)

    def restart_signal(self, session: Session) -> str:
        """Return INT for a background session, which its supervisor restarts after SIGTERM."""
        kinds = {entry.kind for entry in registry.registry_entries(session.id)}
        return "INT" if "bg" in kinds else ""

    def state(self, session: Session) -> Fields:
        """Return the state that the registry names, if one process has the session."""
        entries = registry.registry_entries(session.id)
        if len(entries) != 1 or not entries[0].waits_for:
            return {}
        return {"for": entries[0].waits_for, "status": entries[0].status}

    def recognises(self, record: Fields) -> bool:
        """Return True for a line of a transcript or of stream-json."""
        return lines.recognises(record)

    def may_matter(self, line: bytes) -> bool:
        """Return False for progress and other lines that give no event."""
        return lines.may_matter(line)

    def may_record_usage(self, line: bytes) -> bool:
        """Return False for a line without a usage and without the client's bill."""
        return b'"usage"' in line or b'"cost-state"' in line

    def may_be_prompt(self, line: bytes) -> bool:
        """Return False for an answer, and for the result of a tool without words of the user's."""
        return (
            (b'"tool_result"' not in line or b'{"type":"text"' in line)
            and b'"type":"assistant"' not in line
            and lines.may_matter(line)
        )

    def translator(self, max_result: int = 4096, recorded: bool = False) -> translate.Translator:
        """Return a translator for a transcript and those of its subagents, or for stream-json."""
        return translate.Translator(max_result, recorded)

    def process(self, session: Session) -> "Identity | None":
        """Return the process that the registry names for the session."""
        return sessions.process(session)

    def is_program(self, executable: str, arguments: Sequence[str]) -> bool:
        """Return True for the program, and for its script in an interpreter."""
        return registry.is_claude(executable, arguments)


AGENT = ClaudeCode()
