"""Qwen Code."""

from agent_pipes.agents.jsonl_agent import JsonlAgent
from agent_pipes.agents.qwen import translate
from agent_pipes.core.jsonl import Fields


class QwenCode(JsonlAgent):
    """Qwen Code 0.24, by its chat files and the directory of its process."""

    name = "qwen"
    title = "Qwen Code"
    programs = ("qwen",)
    package = "@qwen-code/qwen-code"
    home_variable = "QWEN_HOME"
    home = (".qwen",)
    layout = "projects/*/chats/*.jsonl"
    session_key = "sessionId"
    script = r"(^|/)qwen$|/qwen-code/"

    def recognises(self, record: Fields) -> bool:
        """Return True for a line of a session file, and of its JSON output on a pipe."""
        return translate.recognises(record)

    def translator(self, max_result: int = 4096, recorded: bool = False) -> translate.Translator:
        """Return a translator; counts are always exact."""
        return translate.Translator(max_result)


AGENT = QwenCode()
