"""What one line of Codex's says: its time, its texts, and how a call ended."""

from dataclasses import dataclass

import orjson

from agent_pipes.agents.fields import number, string, text_of, within
from agent_pipes.agents.results import result_data
from agent_pipes.core.event import YEAR_2000, YEAR_2100
from agent_pipes.core.jsonl import Fields


def event(
    event_type: str, time: float, session: str, key: str, data: Fields, parent: str = ""
) -> Fields:
    """An event, as the vocabulary has it, of the id `key`."""
    fields: Fields = {
        "event_type": event_type,
        "timestamp": time,
        "event_id": key,
        "session_id": session,
    }
    if parent:
        fields["parent_id"] = parent
    fields["data"] = data
    return fields


def failure(message: str, reason: str, limit: int) -> Fields:
    """The data of an error that is no call's result."""
    return {**result_data(message, limit, "error"), "reason": reason}


def made(id: str) -> float | None:
    """When the id of a thread or turn was made, in seconds since the epoch: it is a UUID of version 7 (RFC 9562)."""
    digits = id.replace("-", "")
    if len(digits) != 32 or digits[12] != "7":
        return None
    try:
        seconds = int(digits[:12], 16) / 1000
    except ValueError:
        return None
    return seconds if YEAR_2000 <= seconds < YEAR_2100 else None


def arguments_of(value: object) -> Fields:
    """A call's arguments, which stand in a string of JSON; what is none is one argument, `input`."""
    if type(value) is dict:
        return value
    if type(value) is not str or not value:
        return {}
    try:
        parsed = orjson.loads(value)
    except ValueError:
        return {"input": value}
    return parsed if type(parsed) is dict else {"input": value}


def command_of(command: object) -> str:
    """The command that a shell was given (`bash -lc COMMAND`), else all words of it."""
    words = [word for word in command if type(word) is str] if type(command) is list else []
    return (
        words[2]
        if len(words) == 3 and words[1] in ("-lc", "-c", "-Command", "/c")
        else " ".join(words)
    )


def patch_of(changes: list[tuple[str, str, str]]) -> str:
    """Changes of files, each a path, a kind and what changes, in the words in which the model asks for them."""
    verbs = {"add": "Add", "delete": "Delete"}
    files = "".join(
        f"*** {verbs.get(kind, 'Update')} File: {path}\n{diff.rstrip()}\n"
        for path, kind, diff in changes
    )
    return f"*** Begin Patch\n{files}*** End Patch"


def tool_of(namespace: str, name: str) -> str:
    """A tool's name: of an MCP server's with the server's in front, as older versions wrote it."""
    if not namespace.startswith("mcp__"):
        return name
    return (
        f"{namespace}{name}"
        if namespace.endswith("_") or name.startswith("_")
        else f"{namespace}__{name}"
    )


@dataclass(slots=True)
class Ended:
    """How a call ended, as an event beside its result says.

    code:     the exit code of the command, None for no command.
    failed:   it did not end well.
    declined: it was not carried out.
    took:     milliseconds, None where that is not told.
    """

    code: int | None = None
    failed: bool = False
    declined: bool = False
    took: float | None = None


def ended_of(item: Fields) -> Ended:
    """How the call ended of which `item` tells: a turn item, or the payload of one of the older `…_end` events."""
    code = item.get("exit_code")
    status = string(item, "status")
    outcome = within(item, "result")
    reply = within(outcome, "Ok") or outcome
    failed = (
        status == "failed"
        or item.get("success") is False
        or "Err" in outcome
        or reply.get("isError") is True
        or bool(item.get("error"))
    )
    declined = status == "declined"
    return Ended(
        code if type(code) is int and not declined else None, failed, declined, _took(item)
    )


def _took(item: Fields) -> float | None:
    duration = within(item, "duration")
    seconds, nanos = number(duration, "secs"), number(duration, "nanos")
    if seconds is None or nanos is None or not 0 <= seconds < 1e9:
        return None
    return round(seconds * 1000 + nanos / 1e6, 3)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call's result says.

    text:     all of it.
    same:     it without the lines that differ from run to run, for comparison.
    reason:   why the call failed, as the vocabulary has it; "" where it did not.
    code:     the command's exit code, None where there is none.
    running:  the number under which the command still runs, "" where it does not.
    took:     milliseconds, None where that is not told.
    """

    text: str
    same: str
    reason: str = ""
    code: int | None = None
    running: str = ""
    took: float | None = None

    def said(self, tool: str, limit: int) -> tuple[str, Fields]:
        """The type and the data of the event that says so. The size is that of the whole; the digest is of `same`."""
        data = {
            "tool_name": tool,
            **result_data(
                self.text, limit, "error" if self.reason else "result", tool=tool, same=self.same
            ),
        }
        if self.code is not None:
            data["exit_code"] = self.code
        if self.running:
            data["running"] = True
        if self.reason:
            data["reason"] = self.reason
        return ("error" if self.reason else "tool_result"), data


_VARYING = (
    "Chunk ID: ",
    "Wall time",
    "Process running with session ID ",
    "Script running with cell ID ",
)
_CONSTANT = (
    "Process exited with code ",
    "Exit code: ",
    "Original token count: ",
    "Total output lines: ",
    "Script completed",
    "Script failed",
    "Script terminated",
)
_CODE = ("Process exited with code ", "Exit code: ")
_RUNNING = ("Process running with session ID ", "Script running with cell ID ")

_HEADED = frozenset(
    {
        "exec_command",
        "write_stdin",
        "shell",
        "shell_command",
        "local_shell",
        "unified_exec",
        "apply_patch",
        "exec",
        "wait",
    }
)
"""The tools whose results begin with a header: one without it is a refusal to run at all."""

_REFUSALS = (
    "unsupported ",
    "failed to ",
    "unable to ",
    "err: ",
    "error: ",
    "Error: ",
    "tool call error",
)
"""How results of the other tools begin that say why there is none."""


def outcome(tool: str, output: object, ended: Ended | None = None) -> Outcome:
    """What the result of a call to `tool` says, and what was said beside it. Without a `tool` that alone decides."""
    beside = ended or Ended()
    text, code = _unwrapped(output)
    head, body = _parted(text)
    took = beside.took
    running = ""
    for line in head:
        if line.startswith(_CODE) and code is None:
            code = _whole(line.rpartition(" ")[2])
        elif line.startswith(_RUNNING):
            running = ("cell " if line.startswith("Script") else "") + line.rpartition(" ")[2]
        elif line.startswith("Wall time") and took is None:
            took = _milliseconds(line)
    code = beside.code if code is None else code
    kept = [line for line in head if not line.startswith(_VARYING)]
    same = "\n".join([*kept, body]) if head else text
    refusable = tool in _HEADED and type(output) is str
    return Outcome(text, same, _reason(head, body, code, beside, refusable), code, running, took)


def _reason(head: list[str], body: str, code: int | None, beside: Ended, refusable: bool) -> str:
    if body.startswith("aborted by user") or body == "aborted":
        return "interrupted"
    # A person's refusal is not the agent's failure. What a policy forbids is: it may not be tried again and again.
    ran = "Output:" in head and "Script failed" not in head
    if not ran and "rejected by user" in body[:500]:
        return "rejected"
    if beside.declined:
        return "tool" if body else "rejected"
    if code:
        return "exit"
    if (beside.failed and code is None) or "Script failed" in head:
        return "tool"
    if head or code is not None or not body:
        return ""
    return (
        "tool"
        if (refusable and not body.startswith("Success.")) or body.startswith(_REFUSALS)
        else ""
    )


def _unwrapped(output: object) -> tuple[str, int | None]:
    """The result's text, and its exit code where both stand in an object, as older versions wrote it in JSON."""
    if type(output) is dict and type(output.get("output", output.get("content"))) is str:
        metadata = within(output, "metadata")
        code = metadata.get("exit_code")
        return str(output.get("output", output.get("content"))), code if type(code) is int else None
    if type(output) is str and output.startswith('{"output":'):
        try:
            return _unwrapped({"metadata": {}, **orjson.loads(output)})
        except (ValueError, TypeError):
            return output, None
    return text_of(output), None


def _parted(text: str) -> tuple[list[str], str]:
    """The header's lines, and what follows. What a command has written comes after `Output:`, the header's last line."""
    head: list[str] = []
    at = 0
    for line in text[:2000].split("\n")[:12]:
        if line == "Output:":
            head.append(line)
            at += len(line) + 1
            break
        if not line.startswith(_VARYING) and not line.startswith(_CONSTANT):
            break
        head.append(line)
        at += len(line) + 1
    if head == ["Output:"]:
        return [], text
    return head, text[at:]


def _whole(text: str) -> int | None:
    return int(text) if text.removeprefix("-").isdecimal() and len(text) < 12 else None


def _milliseconds(line: str) -> float | None:
    words = line.removeprefix("Wall time").lstrip(": ").split(" ")
    try:
        seconds = float(words[0])
    except ValueError:
        return None
    return round(seconds * 1000, 3) if 0 <= seconds < 1e9 and words[1:] == ["seconds"] else None


CALLS = frozenset(
    {
        "CommandExecution",
        "FileChange",
        "McpToolCall",
        "DynamicToolCall",
        "CollabAgentToolCall",
        "WebSearch",
        "Extension",
    }
)
"""The turn items that are calls."""


def call_of(item: Fields) -> tuple[str, Fields, object]:
    """The call that a turn item tells of: its tool, its arguments, and its result."""
    kind = string(item, "type")
    if kind == "CommandExecution":
        arguments = {
            "cmd": command_of(item.get("command")),
            "workdir": string(item, "cwd").removeprefix("file://"),
        }
        return "exec_command", arguments, string(item, "aggregated_output")
    if kind == "FileChange":
        changes = [
            (path, change)
            for path, change in within(item, "changes").items()
            if type(change) is dict
        ]
        diffs = [
            (
                path,
                string(change, "type"),
                string(change, "unified_diff") or string(change, "content"),
            )
            for path, change in changes
        ]
        return (
            "apply_patch",
            {"input": patch_of(diffs)},
            string(item, "stdout") or string(item, "stderr"),
        )
    if kind == "McpToolCall":
        outcome = within(item, "result")
        content = (within(outcome, "Ok") or outcome).get("content")
        problem = item.get("error") or outcome.get("Err")
        said = (
            string(problem, "message")
            if type(problem) is dict
            else problem
            if type(problem) is str
            else content
        )
        return (
            tool_of(f"mcp__{string(item, 'server')}", string(item, "tool")),
            within(item, "arguments"),
            said,
        )
    if kind == "WebSearch":
        return "web_search", within(item, "action") or {"query": string(item, "query")}, ""
    if kind == "Extension":
        return (
            string(item, "kind") or "extension",
            within(item, "action") or {"query": string(item, "query")},
            "",
        )
    if kind == "DynamicToolCall":
        return (
            tool_of(string(item, "namespace"), string(item, "tool")),
            within(item, "arguments"),
            item.get("content_items"),
        )
    return (
        string(item, "tool"),
        {key: item[key] for key in ("prompt", "receiver_thread_ids", "model") if key in item},
        "",
    )


_HARNESS = (
    "<environment_context>",
    "<user_instructions>",
    "<INSTRUCTIONS>",
    "# AGENTS.md instructions",
    "<turn_aborted>",
    "<subagent_notification>",
    "<skill>",
    "<user_shell_command>",
    "<permissions instructions>",
    "<user_action>",
    "<model_switch>",
    "<hook_prompt",
    "<collaboration_mode>",
)
"""How texts begin that stand in the user's role and that no person typed to the agent."""


def is_persons(payload: Fields, text: str) -> bool:
    """Whether a message in the user's role is a person's: newer versions say what its parts are."""
    kinds = within(payload, "internal_chat_message_metadata_passthrough").get("content_item_kinds")
    if type(kinds) is list and kinds:
        return any(type(kind) is str and kind.startswith("user") for kind in kinds)
    return bool(text) and not text.lstrip().startswith(_HARNESS)
