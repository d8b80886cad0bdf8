"""Qwen Code."""

from agent_pipes.agents.jsonl_agent import JsonlAgent
from agent_pipes.agents.qwen import translate


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
    recognises = staticmethod(translate.recognises)
    translator = translate.Translator


AGENT = QwenCode()
