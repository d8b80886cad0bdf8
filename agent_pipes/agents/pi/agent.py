"""The pi coding agent."""

from agent_pipes.agents.jsonl_agent import JsonlAgent
from agent_pipes.agents.pi import translate
from agent_pipes.core.jsonl import Fields


class Pi(JsonlAgent):
    """pi 0.73, by its session files and the directory of its process."""

    name = "pi"
    title = "pi coding agent"
    programs = ("pi",)
    package = "@mariozechner/pi-coding-agent"
    home_variable = "PI_CODING_AGENT_DIR"
    home = (".pi", "agent")
    layout = "sessions/*/*.jsonl"
    session_key = "id"
    script = r"(^|/)pi$|/pi-coding-agent/"

    def recognises(self, record: Fields) -> bool:
        """Return True for a line of a session file, and of its JSON output on a pipe."""
        return translate.recognises(record)

    def translator(self, max_result: int = 4096, recorded: bool = False) -> translate.Translator:
        """Return a translator; counts are always exact."""
        return translate.Translator(max_result)


AGENT = Pi()
