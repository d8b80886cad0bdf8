"""The pi coding agent."""

from agent_pipes.agents.jsonl_agent import JsonlAgent
from agent_pipes.agents.pi import translate


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
    recognises = staticmethod(translate.recognises)
    translator = translate.Translator


AGENT = Pi()
