"""Gemini CLI: chat logs (0.40 to 0.61), older documents, and `--output-format stream-json`.

A chat log grows by appending: a changed message is written again with the same id, and
`$set` may list all of them. Each part of a message is emitted once.
"""

import re
import signal
from collections.abc import Iterator
from pathlib import PurePath

from agent_pipes.agents.fields import count, objects_in, string, text_of, time_of, within
from agent_pipes.agents.gemini.stream_json import STREAM, Stream, is_stream
from agent_pipes.agents.results import ended, shell_command
from agent_pipes.agents.translator import BaseTranslator
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern

LOOP_WARNING = "System: Potential loop detected"
"""Beginning of the message that the client's own loop detection sends for the user."""


def may_matter(line: bytes) -> bool:
    """Return False if the line is certain to give no event: a test before it is parsed.

    Every third line only updates a time, and every sixth repeats the results of calls.
    """
    if line.startswith(b'{"$set":{"lastUpdated":'):
        return b'"messages"' in line or b'}{"' in line
    return b'"type":"user","content":[{"functionResponse":' not in line[:200] or b'}{"' in line


_MESSAGES = frozenset({"user", "gemini", "info", "warning", "error"})


def recognises(record: Fields) -> bool:
    """Return True for a line of a chat log or of stream-json, and for an older document."""
    if type(record.get("$set")) is dict or type(record.get("$rewindTo")) is str:
        return True
    kind = record.get("type")
    if type(kind) is not str:
        return ("projectHash" in record and "sessionId" in record) or type(
            record.get("history")
        ) is list
    return is_stream(kind, record) or (
        kind in _MESSAGES and all(key in record for key in ("id", "timestamp", "content"))
    )


class Translator(BaseTranslator):
    """Translates the lines of one session, its subagents' files included, into events.

    A call is written only when it has ended, together with its result; both are emitted then. The
    result, which the log repeats as if the user had said it, is emitted once. A rewind undoes
    nothing.
    """

    agent = "gemini"

    def __init__(self, max_result: int = 4096, recorded: bool = False) -> None:
        super().__init__(max_result)
        self._stream = Stream(max_result)
        self._agents: dict[str, str] = {}
        self._start: Fields | None = None

    def translate(self, record: Fields, arrival: float, path: str = "") -> Iterator[Fields]:
        """Yield the events of one line, none for most."""
        kind = record.get("type")
        if type(kind) is str and kind in STREAM and "id" not in record:
            yield from self._stream.translate(kind, record, time_of(record, arrival), path)
            self.session = self._stream.session
            return
        update = record.get("$set")
        changed = update if type(update) is dict else record
        messages = objects_in(changed.get("messages", changed.get("history")))
        if type(kind) is not str and type(record.get("sessionId")) is str:
            yield from self._begin(record, arrival, path)
            if not messages:
                return
        elif type(kind) is str:
            messages = [record]
        if not self.session:
            self.session = PurePath(path).stem or "gemini"
            self._start = self._started(arrival, path)
        yield from self._held(messages)
        agent = self._agents.get(path, "")
        for place, message in enumerate(messages):
            # A prompt is appended when given. A list of all messages adds only the client's own.
            yield from self._message(message, place, arrival, agent, appended=update is None)

    def end(self) -> Iterator[Fields]:
        """Yield the start of a session without messages, and on a pipe the unfinished message."""
        yield from self._held([])
        yield from self._stream.end()

    def _begin(self, record: Fields, arrival: float, path: str) -> Iterator[Fields]:
        """Yield the start of a file, or of an old document."""
        name = string(record, "sessionId")
        time = time_of(record, arrival, "startTime")
        if record.get("kind") == "subagent":
            yield from self._held([])
            self.session = self.session or PurePath(path).parent.name or name
            self._agents[path] = name
            if self._seen.new("start", name):
                yield self._event("subagent_start", time, f"{name}:start", {}, agent=name)
        elif self._seen.new("start", name):
            self.session = self.session or name
            self._start = self._started(time, path)

    def _held(self, messages: list[Fields]) -> Iterator[Fields]:
        """Yield the session's start, which waits for the next line: that names the directory."""
        if self._start:
            start, self._start = self._start, None
            found = _DIRECTORY.search(_text(messages[0].get("content"))) if messages else None
            start["data"]["cwd"] = found[1] if found else ""
            yield start

    def _message(
        self, message: Fields, place: int, arrival: float, agent: str, appended: bool
    ) -> Iterator[Fields]:
        kind = string(message, "type") or string(message, "role")
        name = string(message, "id") or f"message-{place}"
        time = time_of(message, arrival)
        content = message.get("content", message.get("parts"))
        if kind == "user":
            new = self._seen.new("user", name)
            if new and appended and not agent and (text := _prompt(content)):
                origin = "hook" if text.startswith(LOOP_WARNING) else "person"
                yield self._event("user_prompt", time, name, {"prompt": text, "origin": origin})
        elif kind in ("gemini", "model"):
            yield from self._response(message, name, _text(content), time, agent)
        elif kind == "error" and self._seen.new("error", name):
            yield self._failed(time, name, _text(content), agent=agent)

    def _response(
        self, message: Fields, name: str, text: str, time: float, agent: str
    ) -> Iterator[Fields]:
        tokens, calls = message.get("tokens"), message.get("toolCalls")
        if type(tokens) is dict:
            usage = _usage(tokens)
            if self._seen.changed(("usage", name), hash(tuple(usage.items()))):
                # Calls are written when all of them are over.
                more = {} if text or calls is not None else {"in_flight": True}
                model = string(message, "model")
                yield self._used(time, model, name, usage, agent=agent, more=more)
        if text and self._seen.new("text", name):
            key = f"{name}:text"
            yield self._event("assistant_response", time, key, {"text": text}, agent=agent)
        for number, call in enumerate(objects_in(calls)):
            yield from self._call(call, name, number, time, agent)

    def _call(
        self, call: Fields, step: str, number: int, time: float, agent: str
    ) -> Iterator[Fields]:
        """Yield an ended call and its result, once, although both may be written again."""
        status = string(call, "status")
        key = string(call, "id") or f"{step}:{number}"
        if status not in ("success", "error", "cancelled"):
            return
        if not self._seen.new("call", step, key):
            return
        name, arguments = string(call, "name"), within(call, "args")
        data: Fields = {"tool_name": name, "arguments": arguments, "step": step}
        yield self._event("tool_call", time, key, data, agent=agent)
        text = _text(call.get("result")) or _text(call.get("resultDisplay"))
        same, code, reason = _outcome(name, status, text)
        kind, data = ended(
            name,
            text,
            self._max_result,
            reason=reason,
            code=code,
            same=same,
            command=shell_command(arguments),
        )
        if code is None and not reason and "Command moved to background (PID: " in text[:200]:
            data["running"] = True
        over = time_of(call, time)
        yield self._event(kind, over, f"{step}:{key}:result", data, key, agent=agent)
        if started := string(call, "agentId"):
            yield self._event("subagent_stop", over, f"{started}:stop", {}, key, agent=started)


_CLIENTS = (
    "<session_context>",
    "<hook_context>",
    "<state_snapshot>",
    "System: Potential loop detected.",
    "Please continue.",
)
"""Beginnings of texts that the client writes in the user's place."""


def _prompt(content: object) -> str:
    """Return a person's words, "" for the results of calls, which have the same form."""
    if type(content) is list and any(
        type(part) is dict and "functionResponse" in part for part in content
    ):
        return ""
    text = _text(content)
    return "" if text.startswith(_CLIENTS) else text


_DIRECTORY = pattern(
    r"\A<session_context>.*?^- \*\*Workspace Directories:\*\*\n +- ([^\n]+)$",
    re.DOTALL | re.MULTILINE,
)

_NEWLINE = r"(?:\n|\\n)"
"""A newline; in some old documents a line's end was written as these two characters."""

_FOOTER = pattern(
    rf"(?:{_NEWLINE}Exit Code: (?P<exit>-?\d{{1,10}}|\(none\)))?"
    rf"(?:{_NEWLINE}Signal: (?P<signal>\w{{1,20}}|\(none\)))?"
    rf"(?P<processes>(?:{_NEWLINE}Background PIDs: [^\n\\]{{1,2000}})?"
    rf"(?:{_NEWLINE}Process Group PGID: [^\n\\]{{1,20}})?)"
    r"(?:\s*</untrusted_context>)?\s*\Z"
)
"""End of a shell command's result. PIDs differ each time, so the result's digest excludes them:
two results that differ in nothing else are the same."""


def _outcome(tool: str, status: str, text: str) -> tuple[str, int | None, str]:
    """Return how a call ended: its comparable text, its exit code, the reason of a failure.

    The client records a failed command as a success: only the text for the model shows it.
    """
    if status == "cancelled":
        return text, None, "rejected" if "User denied execution" in text[:200] else "interrupted"
    if status == "error":
        return (
            text,
            None,
            next((reason for said, reason in _NOT_ITS_OWN.items() if said in text[:200]), "tool"),
        )
    if tool != "run_shell_command":
        return text, None, ""
    begin = max(0, len(text) - 2400)
    footer = _FOOTER.search(text, begin)
    if footer is None:
        return text, None, ""
    stable = text[: footer.start("processes")] + text[footer.end("processes") :]
    code = int(footer["exit"]) if footer["exit"] not in (None, "(none)") else None
    if code:
        return stable, code, "exit"
    if footer["signal"] not in (None, "(none)", "0"):
        return stable, _status(footer["signal"]), "exit"
    head = text[:200].removeprefix("<untrusted_context>\n")
    return (
        stable,
        code,
        "tool"
        if head.startswith("Command was automatically cancelled because it exceeded")
        else "",
    )


_NOT_ITS_OWN = {
    "Agent execution stopped by hook": "interrupted",
}
"""Errors that are no failure of the agent: a hook ended the run. A denial is a failure."""


def _status(name: str) -> int | None:
    """Return the exit status by which a shell reports that a signal ended a command."""
    if name.isascii() and name.isdigit():
        return 128 + int(name)
    return 128 + signal.Signals[name] if name in signal.Signals.__members__ else None


def _text(content: object) -> str:
    """Return the text of a message or result: a string, or parts without thoughts and calls.

    A part that is no text is named by its digest, to tell two apart.
    """
    if type(content) is str:
        return content
    parts = content if type(content) is list else [content]
    return "\n".join(filter(None, (_part(part) for part in parts)))


def _part(part: object) -> str:
    if type(part) is str:
        return part
    if type(part) is not dict or part.get("thought") is True or "functionCall" in part:
        return ""
    if type(part.get("text")) is str:
        return string(part, "text")
    answer = part.get("functionResponse")
    response = answer.get("response") if type(answer) is dict else None
    if type(response) is dict:
        said = response.get("output", response.get("error"))
        if type(said) is str:
            return said
    return text_of([part]) if part else ""


def _usage(tokens: Fields) -> dict[str, int]:
    """Return token counts by their OpenTelemetry names: Gemini excludes thoughts from output."""
    return {
        "input_tokens": count(tokens, "input") + count(tokens, "tool"),
        "output_tokens": count(tokens, "output") + count(tokens, "thoughts"),
        "cache_read_input_tokens": count(tokens, "cached"),
        "reasoning_output_tokens": count(tokens, "thoughts"),
    }
