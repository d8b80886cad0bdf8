"""What sessions have come to, straight from their own files: only the lines that can tell of costs are parsed.

That is all a bill needs, and several times as fast as the events of the same files. What comes out is the same.
"""

import gc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from agent_pipes.agents import Source
from agent_pipes.agents.claude import translate as claude_translate
from agent_pipes.agents.claude import usage as claude_usage
from agent_pipes.agents.fields import time_of
from agent_pipes.core.event import RECORDING, Event
from agent_pipes.core.jsonl import Fields, records
from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.stderr import warn
from agent_pipes.cost.estimate import HEARD
from agent_pipes.cost.meter import Meter, may_record, modes_of
from agent_pipes.cost.prices import Usage
from agent_pipes.sessions import discovery

_CODEX = pattern(
    rb'\{"timestamp":"[^"]*",(?:"ordinal":\d+,)?"type":"(?:world_state|compacted|response_item|inter_agent_communication_metadata'
    rb'|event_msg","payload":\{"type":"(?!token_count|task_started|thread_settings_applied))'
)
"""The lines of a rollout in which no usage, no model and no thread is told of."""

PICKS: dict[str, Callable[[bytes], bool]] = {
    "codex": lambda line: not _CODEX.match(line) or b'}{"timestamp":"' in line
}
"""Whether a line can tell of costs, by source; a test that is wrong on one side only."""


def count(paths: Iterable[Path], meter: Meter) -> int:
    """Put all that stands in these files to the accounts of `meter`. The number of lines that could not be read.

    Raises click.UsageError where a file cannot be read, or is in no known format.
    """
    bad = 0
    collects = gc.isenabled()
    # Parsed lines have no cycles: to look for some among them takes a tenth of the time.
    gc.disable()
    try:
        for path in paths:
            source = discovery.format_of(path)
            content, arrival = path.read_bytes(), path.stat().st_mtime
            bad += (
                _claude(path, content, arrival, meter)
                if source.NAME == claude_translate.NAME
                else _any(path, content, arrival, source, meter)
            )
    finally:
        if collects:
            gc.enable()
    return bad


def _any(path: Path, content: bytes, arrival: float, source: Source, meter: Meter) -> int:
    """The file's events, one by one. Where they carry no time, that of the file stands in."""
    picks: Callable[[bytes], bool] = (
        PICKS.get(source.NAME) or getattr(source, "matters", None) or bool
    )
    translator = source.Translator(recorded=meter.recorded)
    bad = 0
    for number, line in enumerate(
        [content] if discovery.is_document(path) else content.split(b"\n"), 1
    ):
        if not picks(line):
            continue
        try:
            for record in records(line):
                if getattr(source, "PASSES", False):
                    _tell(Event(line, record), meter)
                else:
                    for fields in translator.translate(record, arrival, str(path)):
                        _tell(Event(b"", fields), meter)
        except ValueError as error:
            bad += _complain(path, number, error)
    return bad


def _tell(event: Event, meter: Meter) -> None:
    if event.type in RECORDING and may_record(event) and meter.charge(event):
        return
    if event.type in HEARD:
        meter.guess(event)
    elif event.type == "session_start":
        meter.account(event.session).model = event.text("model")


_Best = tuple[tuple[bool, bool, int], Fields, object, str, Fields]
"""The line that tells best what a response has used: its rank among the response's lines, as claude_usage.Responses has
it, its usage, why the model stopped, the model, and the line."""


def _claude(path: Path, content: bytes, arrival: float, meter: Meter) -> int:
    """A transcript. A response's lines mostly repeat each other: what they say is looked at once.

    What is not plain goes through the source's own translator: placeholders that a length must stand in for,
    compactions, JSON from a pipe, lines copied from another session.
    """
    costs = claude_translate.Costs(recorded=meter.recorded)
    best: dict[str, _Best] = {}
    told: dict[str, Fields] = {}
    session, bad = "", 0
    for line in _lines_with(b'"usage"', content):
        try:
            for record in records(line):
                spoken, aside = _spoken(record)
                message: Any = spoken.get("message")
                usage = message.get("usage") if type(message) is dict else None
                if type(usage) is dict:
                    name, model, stopped = (
                        message.get("id"),
                        message.get("model"),
                        message.get("stop_reason"),
                    )
                    old = best.get(name) if type(name) is str else None
                    if old is not None and old[1] == usage and old[2] == stopped:
                        continue
                    final = type(stopped) is str
                    if (
                        name not in told
                        and (final or meter.recorded or old)
                        and name
                        and type(model) is str
                        and not usage.get("iterations")
                    ):
                        session = session or record["sessionId"]
                        rank = (
                            not aside
                            and spoken.get("isSidechain") is not True
                            and "agentId" not in spoken,
                            final,
                            _total(usage),
                        )
                        if old is None or rank >= old[0]:
                            best[name] = (rank, usage, stopped, model, spoken)
                        continue
                for fields in costs.translate(record, arrival, str(path)):
                    told[fields["data"]["response_id"]] = fields
        except ValueError as error:
            bad += _complain(path, content.count(b"\n", 0, content.find(line)) + 1, error)
    for name, each in best.items():
        if name not in told:
            _count(name, each, session, arrival, meter)
    for fields in told.values():
        meter.charge(Event(b"", fields))
    return bad


def _spoken(record: Fields) -> tuple[Fields, bool]:
    """The line of a model's response that this is, or copies from a subagent, which is then said; {} if it is another."""
    kind = record.get("type")
    if "sessionId" not in record or type(record["sessionId"]) is not str or "forkedFrom" in record:
        return {}, False
    if kind == "assistant":
        return record, False
    data = record.get("data")
    inner = data.get("message") if kind == "progress" and type(data) is dict else None
    return (
        (inner, True) if type(inner) is dict and inner.get("type") == "assistant" else ({}, False)
    )


def _count(name: str, best: _Best, session: str, arrival: float, meter: Meter) -> None:
    _, recorded, _, model, line = best
    if model == "<synthetic>":
        return
    get = claude_usage.usage_of(recorded).get
    tools = recorded.get("server_tool_use")
    searches = tools.get("web_search_requests") if type(tools) is dict else 0
    usage = Usage(
        get("input_tokens", 0),
        get("cache_read_input_tokens", 0),
        get("cache_creation_input_tokens", 0),
        get("cache_creation_1h_input_tokens", 0),
        get("output_tokens", 0),
        get("reasoning_output_tokens", 0),
        searches if type(searches) is int and searches > 0 else 0,
    )
    time = time_of(line, arrival)
    if usage.prompt or usage.output or usage.searches:
        meter.count(
            session,
            name,
            time,
            meter.priced(model or meter.model, usage, time, False, modes_of(recorded)),
        )


def _total(usage: Fields) -> int:
    get = usage.get
    counts = (
        get("input_tokens"),
        get("cache_read_input_tokens"),
        get("cache_creation_input_tokens"),
        get("output_tokens"),
    )
    return sum([count for count in counts if type(count) is int])


def _lines_with(mark: bytes, content: bytes) -> Iterator[bytes]:
    at = content.find(mark)
    while at >= 0:
        end = content.find(b"\n", at)
        end = end if end >= 0 else len(content)
        yield content[content.rfind(b"\n", 0, at) + 1 : end]
        at = content.find(mark, end)


def _complain(path: Path, number: int, error: ValueError) -> int:
    warn(f"{path}:{number}: {error}: skipped")
    return 1
