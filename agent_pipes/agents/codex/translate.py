"""Translator of Codex's rollouts (0.66 and later) and of `codex exec --json`."""

from collections.abc import Iterator

from agent_pipes.agents.codex.exec_json import KINDS, Run
from agent_pipes.agents.codex.rollout import Thread
from agent_pipes.agents.fields import time_of
from agent_pipes.agents.translator import BaseTranslator
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern

_LINES = frozenset(
    {
        "session_meta",
        "turn_context",
        "response_item",
        "event_msg",
        "compacted",
        "world_state",
        "token_usage_record",
        "inter_agent_communication_metadata",
    }
)

_UNTOLD = pattern(
    rb'\{"timestamp":"[^"]*",(?:"ordinal":\d+,)?"type":"(?:'
    rb"world_state|inter_agent_communication_metadata"
    rb'|response_item","payload":\{"type":"(?:reasoning|additional_tools|ghost_snapshot|compaction|agent_message)'
    rb'|event_msg","payload":\{"type":"(?:agent_message|agent_reasoning|agent_reasoning_raw_content|thread_goal_updated|web_search_end)'
    rb'|event_msg","payload":\{"type":"item_completed","thread_id":"[^"]*","turn_id":"[^"]*","item":\{"type":"'
    rb"(?:AgentMessage|Reasoning|Plan|ContextCompaction|HookPrompt)"
    rb')"'
)


def may_matter(line: bytes) -> bool:
    """Return False if a line is certain to give no event.

    What Codex writes begins with these keys in this order, and no text of the agent precedes
    them.
    """
    return not _UNTOLD.match(line) or b'}{"timestamp":"' in line


_NO_USAGE = pattern(
    rb'\{"timestamp":"[^"]*",(?:"ordinal":\d+,)?"type":"'
    rb"(?:world_state|compacted|response_item|inter_agent_communication_metadata"
    rb'|event_msg","payload":\{"type":"(?!token_count|task_started|thread_settings_applied))'
)


def may_record_usage(line: bytes) -> bool:
    """Return False for a line that names no usage, no model and no thread."""
    return not _NO_USAGE.match(line) or b'}{"timestamp":"' in line


def recognises(record: Fields) -> bool:
    """Return True for a line of a rollout, or of `codex exec --json`."""
    kind = record.get("type")
    if type(kind) is not str:
        return False
    if kind in _LINES:
        return type(record.get("payload")) is dict and type(record.get("timestamp")) is str
    if kind.startswith("item."):
        return kind in KINDS and type(record.get("item")) is dict
    return kind in ("turn.started", "turn.completed", "turn.failed") or (
        kind == "thread.started" and type(record.get("thread_id")) is str
    )


class Translator(BaseTranslator):
    """Turns the lines of one session, its subagents' rollouts among them, into events.

    Or those of a run on a pipe.
    """

    def __init__(self, max_result: int = 4096, recorded: bool = False) -> None:
        super().__init__(max_result)
        self._threads: dict[str, Thread] = {}
        self._run: Run | None = None

    def translate(self, record: Fields, arrival: float, path: str = "") -> Iterator[Fields]:
        """Yield the events of one line.

        `arrival` replaces the time on a pipe, where lines have none.
        """
        kind = record.get("type")
        if type(kind) is not str:
            return
        if kind in KINDS:
            if kind == "thread.started" or self._run is None:
                self._run = Run(self._max_result)
            yield from self._run.translate(record, time_of(record, arrival), path)
            self.session = self._run.session
        elif type(record.get("payload")) is dict:
            thread = self._threads.get(path)
            if thread is None or (kind == "session_meta" and thread.ends_at(record)):
                thread = self._threads[path] = Thread(self._max_result, path, self.session)
            yield from thread.translate(record, time_of(record, arrival))
            self.session = thread.session or self.session
