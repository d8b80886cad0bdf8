"""Claude Code."""

from agent_pipes.agents.base import Agent, Session
from agent_pipes.agents.claude import lines, registry, translate
from agent_pipes.agents.claude import sessions as transcripts
from agent_pipes.core.jsonl import Fields


class ClaudeCode(Agent):
    """Claude Code 2.0.28 and later, by its transcripts and its process registry."""

    name = "claude"
    title = "Claude Code"
    programs = ("claude",)
    package = "@anthropic-ai/claude-code"
    resume_command = "claude --resume {id}"
    env_marker = "CLAUDE_CODE_SESSION_ID"

    homes = staticmethod(registry.roots)
    sessions = staticmethod(transcripts.sessions)
    recent_sessions = staticmethod(transcripts.sessions)
    sessions_in = staticmethod(transcripts.sessions_in)
    maybe_live_sessions = staticmethod(transcripts.maybe_live_sessions)
    sessions_named = staticmethod(transcripts.sessions_named)
    session_folders = staticmethod(transcripts.session_folders)
    sessions_at = staticmethod(transcripts.sessions_at)
    files = staticmethod(transcripts.files)
    folders = staticmethod(transcripts.folders)
    successor = staticmethod(transcripts.successor)
    process = staticmethod(transcripts.process)
    is_program = staticmethod(registry.is_claude)
    recognises = staticmethod(lines.recognises)
    may_matter = staticmethod(lines.may_matter)
    translator = translate.Translator

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


AGENT = ClaudeCode()
