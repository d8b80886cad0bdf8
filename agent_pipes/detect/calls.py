"""Tool calls as detectors compare them: what is the same call, and its name for people."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cached_property
from posixpath import basename, normpath

import orjson

from agent_pipes.agents.tools import kind_of
from agent_pipes.core.event import Event
from agent_pipes.core.jsonl import Fields, canonical
from agent_pipes.detect import tool_kinds
from agent_pipes.detect.outcomes import (
    Outcome,
    ended_in_background,
    outcome,
    result_end,
    result_text,
)
from agent_pipes.detect.results import Result
from agent_pipes.shell import (
    command_kind,
    command_line,
    is_known_to_change,
    is_polling,
    may_change,
    normalize,
    only_sleeps,
    patched_files,
    subject,
)
from agent_pipes.shell.log_file import shown_log, written_log
from agent_pipes.shell.summaries import Tool, failure_count, tool_of, verdict

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
"""Arguments about how a call is run or shown: calls that differ only in these are the same."""

DESCRIPTIONS = frozenset({"description", "explanation", "instruction"})
"""Bookkeeping, too, if the call has a subject: a command, a file, a prompt."""

PATHS = frozenset(
    {"file_path", "path", "notebook_path", "filePath", "absolute_path", "target_file", "filename"}
)
SEARCHES = frozenset({"pattern", "query", "regex", "glob"})
SUBJECTS = PATHS | SEARCHES | {"command", "cmd", "prompt", "url"}


class Call:
    """A tool call as detectors compare it. Each comparison is computed when it is first asked for.

    agent:      id of the subagent that makes it, "" for the main agent.
    answer:     the `tool_result` or `error` that answers it; None while it is open.
    arguments:  what the tool was given.
    digest:     digest of its whole arguments if they were cut, else "".
    id:         the call's event id.
    started_by: the earlier call whose command ended with this answer, which only waited for it.
    step:       shared by the parallel calls of one response; "" if the source cannot tell.
    ticket:     shared with its result in stores whose results do not name their call's event.
    time:       when it was made, seconds since the epoch.
    tool:       the tool's name.
    writer:     the test command that wrote the log file at which it looks first.
    """

    def __init__(self, event: Event) -> None:
        get = event.data.get
        self.id = event.id
        self.time = event.time
        self.agent = event.agent
        self.tool = event.text("tool_name")
        self.step = event.text("step")
        self.ticket = ticket_of(event.data)
        arguments = get("arguments")
        self.arguments: Fields = arguments if type(arguments) is dict else _arguments(arguments)
        self.digest = event.text("arguments_digest")
        self.answer: Event | None = None
        self.started_by: Call | None = None
        self.writer: Call | None = None

    @cached_property
    def outcome(self) -> Outcome:
        """Outcome of the call; RUNNING while it is not answered."""
        if self.answer is None:
            return Outcome.RUNNING
        command = self.started_by.command if self.started_by else self.command
        found = outcome(self.answer, command, self.tool)
        if self.written_log and found is Outcome.FAILED:
            # The log holds the failure.
            return Outcome.UNKNOWN
        if self.writer and found is Outcome.OK:
            log = verdict(self.test_tool._replace(is_cut=True), result_text(self.answer))
            return Outcome.FAILED if log == "failed" else Outcome.OK
        return found

    @property
    def failed(self) -> bool:
        """True if it was answered with a failure of its own."""
        return self.outcome is Outcome.FAILED

    @cached_property
    def result(self) -> Result:
        """Its result, to be compared with others. Raises ValueError if it is not answered."""
        if self.answer is None:
            raise ValueError("the call is not answered")
        return Result(self.answer, failed=self.failed)

    @property
    def test_tool(self) -> Tool:
        """The test, build, lint or type-check tool that it runs; NO_TOOL for none."""
        return tool_of(self.writer.command if self.writer else self.command)

    @cached_property
    def written_log(self) -> str:
        """The log file that gets the output of the test that it runs, "" for none."""
        return written_log(self.command) if ">" in self.command and self.test_tool.name else ""

    @property
    def shown_log(self) -> str:
        """The log file that it only shows, "" for none."""
        return shown_log(self.command) or (self.path if kind_of(self.tool) == "read" else "")

    @cached_property
    def failure_count(self) -> int | None:
        """Number of failures that a test, build or lint command reports; None if it tells none."""
        if self.answer is None or not self.test_tool.name:
            return None
        return failure_count(self.test_tool, result_end(self.answer))

    @cached_property
    def _command_and_path(self) -> tuple[str, str]:
        return _command_and_path(self.arguments)

    @property
    def command(self) -> str:
        """The command line of a shell tool, "" for others."""
        return self._command_and_path[0]

    @property
    def path(self) -> str:
        """The file of a file tool, "" for others."""
        return self._command_and_path[1]

    @cached_property
    def key(self) -> int:
        """Hash of tool and arguments, bookkeeping aside: equal for the same call."""
        if self.only_sleeps:
            return hash((self.tool, "sleep"))
        return hash((self.tool, _canonical(self.arguments), self.digest))

    @cached_property
    def target(self) -> int:
        """Hash of tool and object: the command as a shell reads it, the file, else the call."""
        if self.writer:
            return hash((self.writer.target, "log"))
        if self.answer and ended_in_background(self.answer, self.tool) is not None:
            # Each background command has an id of its own.
            return hash((self.tool, "ended"))
        if self.command:
            return hash((self.tool, subject(self.command)))
        if files := self._files():
            verb = tool_kinds.of_tool(self.tool)
            return hash(("edit" if verb == "write" else verb, files))
        return self.key

    @cached_property
    def polls(self) -> bool:
        """True if it only waits for something, or asks how far something has come."""
        if self.tool == "write_stdin":
            return not self.arguments.get("chars")
        if self.command:
            return is_polling(self.command)
        return kind_of(self.tool) == "wait" or self.arguments.get("action") in ("poll", "wait")

    @cached_property
    def only_sleeps(self) -> bool:
        """True if it does nothing but sleep; the seconds are left out of comparison."""
        return "sleep" in self.command and only_sleeps(self.command)

    @cached_property
    def looks(self) -> bool:
        """True if nothing tells that it changes anything: more calls look than do not `change`."""
        if self.command:
            return not is_known_to_change(self.command)
        return not tool_kinds.is_known_to_change(self.tool)

    @property
    def changes(self) -> bool:
        """True if it may change something: false only for what is known to look."""
        if self.command:
            return may_change(self.command)
        return tool_kinds.tool_changes(self.tool)

    @property
    def verb(self) -> str:
        """One word for the call: the name of a step of a loop."""
        if self.command:
            return command_kind(self.command)
        return tool_kinds.of_tool(self.tool)

    def matches(self, patterns: Iterable[str]) -> bool:
        """Return True if its tool or its command matches one of the shell `patterns`."""
        names = [self.tool, normalize(self.command)] if self.command else [self.tool]
        return any(fnmatchcase(name, each) for each in patterns for name in names)

    @property
    def program(self) -> str:
        """The program of a shell command, else the tool."""
        if self.writer:
            return self.writer.program
        words = normalize(self.command).split(None, 1) if self.command else []
        return basename(words[0]) if words else self.tool

    @property
    def label(self) -> str:
        """The call for people: the command in quotation marks, or the tool and its file."""
        if self.command:
            return f'"{_cut(" ".join(normalize(self.command).split()), 80)}"'
        files = ", ".join(basename(path) for path in self._files())
        return f"{self.tool or 'a tool'} {_cut(files, 60)}".rstrip()

    def _files(self) -> tuple[str, ...]:
        if self.path:
            return (normpath(self.path),)
        patch = self.arguments.get("input", self.arguments.get("patch"))
        if type(patch) is str and patch.startswith("*** Begin Patch"):
            return tuple(patched_files(patch[: 1 << 16]))
        return ()


def is_same_attempt(call: Call, before: Call | None) -> bool:
    """Return True if `call` cannot be a reaction to the result of `before`.

    They are parallel calls of one response, or the later was made before the earlier was answered.
    """
    if before is None:
        return False
    if call.step and call.step == before.step:
        return True
    # A call without a time is not known to be early.
    return before.answer is not None and 0.0 < before.time <= call.time < before.answer.time


def ticket_of(data: Fields) -> str:
    """Return the id that call and result share in stores that name no event in results."""
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
    """Return the command line or the file that arguments name; of an editor's both, the file."""
    if not PATHS.isdisjoint(arguments):
        path = next(value for name, value in arguments.items() if name in PATHS)
        return "", path if type(path) is str and SEARCHES.isdisjoint(arguments) else ""
    command = arguments.get("command") or arguments.get("cmd")
    return (command if type(command) is str else command_line(command)), ""


def _canonical(arguments: Fields) -> bytes:
    ignored = BOOKKEEPING if SUBJECTS.isdisjoint(arguments) else BOOKKEEPING | DESCRIPTIONS
    if not ignored.isdisjoint(arguments):
        arguments = {name: value for name, value in arguments.items() if name not in ignored}
    return canonical(arguments)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
