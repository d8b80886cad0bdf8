"""Outcome of a call of Codex's: the text of its result, and what is written beside it."""

from typing import NamedTuple

import orjson

from agent_pipes.agents.fields import number, string, text_of, within
from agent_pipes.agents.results import result_data
from agent_pipes.core.jsonl import Fields

CUT_OFF = "the turn ended before the call did"
"""Result of a call that has none."""


class Ended(NamedTuple):
    """Outcome of a call, by an event beside its result.

    code:     the exit code of the command, None for no command.
    failed:   it did not end well.
    declined: it was not carried out.
    took:     milliseconds, None if unknown.
    """

    code: int | None = None
    failed: bool = False
    declined: bool = False
    took: float | None = None


def ended_of(item: Fields) -> Ended:
    """Return the outcome in a turn item or in the payload of an older `…_end` event."""
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


class Outcome(NamedTuple):
    """Contents of a call's result.

    text:     all of it.
    same:     it without the lines that differ from run to run, for comparison.
    reason:   why the call failed, as the vocabulary has it; "" where it did not.
    code:     the command's exit code, None if there is none.
    running:  the number under which the command still runs, "" if it does not.
    took:     milliseconds, None if unknown.
    """

    text: str
    same: str
    reason: str = ""
    code: int | None = None
    running: str = ""
    took: float | None = None

    def event(self, tool: str, limit: int, command: str = "") -> tuple[str, Fields]:
        """Return the type and the data of the event for a call to `tool`, which runs `command`.

        The size is that of `text`, the digest of `same`.
        """
        data = {
            "tool_name": tool,
            **result_data(
                self.text,
                limit,
                "error" if self.reason else "result",
                tool=tool,
                same=self.same,
                command="" if self.running else command,
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
"""Beginnings of other tools' results that say why there is none."""


def outcome(tool: str, output: object, ended: Ended | None = None) -> Outcome:
    """Return what the result of a call to `tool` contains, completed by `ended`."""
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
    # A person's refusal is not the agent's failure. What a policy forbids is: it may not be tried
    # again and again.
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
    """Return a result's text, and its exit code if both are in an object or its JSON."""
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
    """Return the lines of the header, and what follows its last line, `Output:`."""
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
