"""Tool calls: which are the same, what each is done to, what to call it, and which result answers which call."""

from posixpath import basename, normpath
from typing import Any

import orjson

from agent_pipes.core.event import Event
from agent_pipes.core.jsonl import Fields
from agent_pipes.detect import tool_kinds
from agent_pipes.shell import (
    command_kind,
    command_line,
    is_polling,
    may_change,
    normalize,
    patched_files,
    subject,
)

BOOKKEEPING = frozenset(
    {
        "timeout",
        "timeout_ms",
        "yield_time_ms",
        "max_output_tokens",
        "justification",
        "task_progress",
        "run_in_background",
        "is_background",
        "requires_approval",
        "sandbox_permissions",
        "with_escalated_permissions",
        "prefix_rule",
    }
)
"""Arguments that say how a call is to be run or shown, not what it does: calls that differ in these are the same."""

SPOKEN = frozenset({"description", "explanation", "instruction"})
"""Bookkeeping, too, where the call has something else to say what it does: a command, a file, a prompt."""

PATHS = frozenset(
    {"file_path", "path", "notebook_path", "filePath", "absolute_path", "target_file", "filename"}
)
SEARCHES = frozenset({"pattern", "query", "regex", "glob"})
SUBJECTS = PATHS | SEARCHES | {"command", "cmd", "prompt", "url"}


class Call:
    """A tool call as detectors compare it. What is asked of it is worked out when it is asked for first.

    id:     the call's event id.
    time:   when it was made, seconds since the epoch.
    tool:   the tool's name.
    step:   what the parallel calls of one response share, "" where the source cannot tell.
    ticket: what its result has too, in stores whose results do not name their call's event; else "".
    """

    __slots__ = (
        "_arguments",
        "_command",
        "_key",
        "_path",
        "_polls",
        "_target",
        "id",
        "step",
        "ticket",
        "time",
        "tool",
    )

    def __init__(self, event: Event) -> None:
        get = event.data.get
        self.id = event.id
        self.time = event.time
        tool, step = get("tool_name"), get("step")
        self.tool: str = tool if type(tool) is str else ""
        self.step: str = step if type(step) is str else ""
        self.ticket = _ticket(event.data)
        arguments = get("arguments")
        self._arguments: Fields | None = (
            arguments if type(arguments) is dict else _arguments(arguments)
        )
        self._key = self._target = 0
        self._command: str | None = None
        self._polls: bool | None = None

    @property
    def command(self) -> str:
        """The command line of a shell tool, "" for others."""
        if self._command is None:
            self._command, self._path = _command_and_path(self._arguments or {})
        return self._command

    @property
    def path(self) -> str:
        """The file of a file tool, "" for others."""
        if self._command is None:
            self._command, self._path = _command_and_path(self._arguments or {})
        return self._path

    @property
    def key(self) -> int:
        """The same for the same call: tool and arguments in canonical form, bookkeeping aside. 64 bits."""
        if not self._key:
            self._key = hash((self.tool, _canonical(self._arguments or {})))
        return self._key

    @property
    def target(self) -> int:
        """The same for calls of one tool that are done to the same thing: the command as a shell reads it, the file;
        else the call itself. 64 bits."""
        if not self._target:
            if self.command:
                self._target = hash((self.tool, subject(self.command)))
            elif files := self._files():
                verb = tool_kinds.of_tool(self.tool)
                self._target = hash(("edit" if verb == "write" else verb, files))
            else:
                self._target = self.key
        return self._target

    @property
    def polls(self) -> bool:
        """Whether it only waits for something, or asks how far something has come."""
        if self._polls is None:
            arguments = self._arguments or {}
            if self.tool == "write_stdin":
                self._polls = not arguments.get("chars")
            elif self.command:
                self._polls = is_polling(self.command)
            else:
                self._polls = self.tool in tool_kinds.POLLING_TOOLS or arguments.get("action") in (
                    "poll",
                    "wait",
                )
        return self._polls

    @property
    def changes(self) -> bool:
        """Whether it may change something: what is not known to look only, may."""
        return may_change(self.command) if self.command else tool_kinds.tool_changes(self.tool)

    @property
    def verb(self) -> str:
        """The call in a word: what a step of a loop is named."""
        return command_kind(self.command) if self.command else tool_kinds.of_tool(self.tool)

    @property
    def label(self) -> str:
        """The call for people: the command in quotation marks, or the tool and its file."""
        if self.command:
            return f'"{_cut(" ".join(normalize(self.command).split()), 80)}"'
        files = ", ".join(basename(path) for path in self._files())
        return f"{self.tool or 'a tool'} {_cut(files, 60)}".rstrip()

    def settle(self) -> None:
        """Let go of the arguments, once everything that is asked of them has been worked out."""
        self.key, self.target, self.polls  # noqa: B018
        self._arguments = None

    def _files(self) -> tuple[str, ...]:
        if self.path:
            return (normpath(self.path),)
        arguments = self._arguments or {}
        patch = arguments.get("input", arguments.get("patch"))
        return (
            tuple(patched_files(patch[: 1 << 16]))
            if type(patch) is str and patch.startswith("*** Begin Patch")
            else ()
        )


def call_of(event: Event) -> Call:
    """The call that a `tool_call` event says; worked out once, however many stages ask."""
    return event.once("call", Call)


OPEN = 64
"""Calls of one agent that wait for their result: beyond these, the oldest is given up."""

UNSETTLED = 8
"""How many of them, the latest, keep their arguments."""


class OpenCalls:
    """Pairs results with their calls: by the call's id, else by the id that both carry, else by the tool's name."""

    __slots__ = ("_calls", "_running", "_unsettled")

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}
        self._unsettled: list[Call] = []
        self._running: dict[str, Call] | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def clear(self) -> None:
        self._calls.clear()
        self._unsettled.clear()
        self._running = None

    def opened(self, event: Event) -> Call | None:
        """The call that this `tool_call` makes; None for one that is open already and is only said again."""
        call = call_of(event)
        calls = self._calls
        name = call.id or call.ticket
        if name in calls and name:
            return None
        calls[name] = call
        if len(event.raw) > 4096:
            call.settle()
        else:
            self._unsettled.append(call)
            if len(self._unsettled) > UNSETTLED:
                self._unsettled.pop(0).settle()
        if len(calls) > OPEN:
            del calls[next(iter(calls))]
        return call

    def answered(self, event: Event) -> Call | None:
        """The call that this `tool_result` or `error` answers, which is then no longer open; None where there is none."""
        calls = self._calls
        call = calls.pop(event.parent, None)
        if call is None and calls and not event.parent:
            ticket, tool = _ticket(event.data), event.data.get("tool_name")
            for name, each in calls.items():
                if each.ticket == ticket if ticket else each.tool == tool:
                    call = calls.pop(name)
                    break
        if call in self._unsettled:
            self._unsettled.remove(call)
        return call

    def ended(self, event: Event, call: Call) -> Call:
        """The call whose command the result `event` of `call` tells the end of: an earlier one, where that one's command
        went on beyond it and `call` only waited for it (`started_by`)."""
        data, running = event.data, self._running
        if data.get("running") is True:
            if "started_by" not in data:
                call.settle()
                running = self._running = running or {}
                running[call.id] = call
                if len(running) > OPEN:
                    del running[next(iter(running))]
        elif (
            running
            and type(data.get("exit_code")) is int
            and type(started_by := data.get("started_by")) is str
        ):
            return running.pop(started_by, call)
        return call


def _ticket(data: Fields) -> str:
    """The id that call and result share in stores whose results do not always name their call's event."""
    ticket = data.get("tool_use_id") or data.get("request_id")
    if ticket is None or type(ticket) is str:
        return ticket or ""
    return str(ticket) if type(ticket) is int else ""


def _arguments(value: object) -> Fields:
    if type(value) is str and value[:1] == "{":
        # Some clients write the arguments as JSON text.
        try:
            parsed = orjson.loads(value)
        except ValueError:
            parsed = None
        if type(parsed) is dict:
            return parsed
    return {} if value is None else {"": value}


def _command_and_path(arguments: Fields) -> tuple[str, str]:
    """The command line or the file that arguments name. An editor's subcommand (`command`: "str_replace") has a file beside it."""
    if not PATHS.isdisjoint(arguments):
        path = next(value for name, value in arguments.items() if name in PATHS)
        return "", path if type(path) is str and SEARCHES.isdisjoint(arguments) else ""
    command = arguments.get("command") or arguments.get("cmd")
    return (command if type(command) is str else command_line(command)), ""


def _canonical(arguments: Fields) -> bytes:
    aside = BOOKKEEPING if SUBJECTS.isdisjoint(arguments) else BOOKKEEPING | SPOKEN
    if not aside.isdisjoint(arguments):
        arguments = {name: value for name, value in arguments.items() if name not in aside}
    return canonical(arguments)


def canonical(value: Any) -> bytes:
    """`value` as JSON, the same for equal values whatever the order of their keys."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError, RecursionError):
        pass
    # Lone surrogates, integers beyond 64 bits, nesting beyond 254: what agents write and orjson will not.
    import json

    try:
        return json.dumps(value, sort_keys=True, default=str).encode()
    except (TypeError, ValueError, RecursionError):
        return b"nested too deep"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
