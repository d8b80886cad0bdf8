"""The fields of an event that describe a tool's result."""

from typing import Any

from agent_pipes.agents.tools import kind_of
from agent_pipes.core.event import digest
from agent_pipes.core.jsonl import Fields

TAIL_CHARS = 1000
"""Characters at the end of a result that was cut: there tools print what is wrong."""


def result_data(
    text: str,
    limit: int,
    key: str = "result",
    *,
    tool: str = "",
    same: str | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Return the result's head under `key` (`error` for a failure), its size and its digest.

    The head has at most `limit` bytes and ends at a character. Two results are the same if their
    digests are. Of a result that was cut, `result_like` is the digest of the whole text without
    volatile parts such as times and ids, and `result_tail` its end. `outcome` is how a command
    ended that hides its exit status, where its whole output tells it.

    tool:    name of the tool; the contents of a file have no volatile parts.
    same:    the text to compare, if lines of `text` differ from run to run.
    command: the command line of a shell tool.
    """
    content = text.encode(errors="surrogatepass")
    compared = content if same is None else same.encode(errors="surrogatepass")
    head = text if len(content) <= limit else content[:limit].decode(errors="ignore")
    data = {key: head, "result_bytes": len(content), "result_digest": digest(compared)}
    failed = key == "error"
    if command and not failed:
        from agent_pipes.shell.summaries import summary_outcome

        if found := summary_outcome(command, text):
            data["outcome"] = found
            failed = found == "failed"
    if len(content) > limit and (failed or kind_of(tool) != "read"):
        from agent_pipes.core.text import comparable

        masked = comparable(text if same is None else same, failed=failed)
        data["result_like"] = digest(masked.encode(errors="surrogatepass"))
        data["result_tail"] = text[-TAIL_CHARS:]
    return data


def ended(
    tool: str,
    text: str,
    limit: int,
    *,
    reason: str = "",
    code: int | None = None,
    same: str | None = None,
    command: str = "",
) -> tuple[str, Fields]:
    """Return the type and the data of the event for the end of a call.

    reason: why the call failed; "" if it did not.
    code:   exit code of a command, None if it is not known.

    The others are those of `result_data`.
    """
    key = "error" if reason else "result"
    result = result_data(text, limit, key, tool=tool, same=same, command=command)
    data: Fields = {"tool_name": tool, **result}
    if reason:
        data["reason"] = reason
    if code is not None:
        data["exit_code"] = code
    return ("error" if reason else "tool_result"), data


def failure(text: str, limit: int, reason: str = "api", status: object = None) -> Fields:
    """Return the data of an error that ends no call: a failed request, by default.

    status: HTTP status of the answer; anything but an integer is left out.
    """
    data = {**result_data(text or "the request failed", limit, "error"), "reason": reason}
    if type(status) is int:
        data["status"] = status
    return data


def compaction(trigger: str, tokens: object) -> Fields:
    """Return the data of a compaction; `tokens` before it are left out if they are no number."""
    known = type(tokens) is int or type(tokens) is float
    return {"trigger": trigger} | ({"tokens": tokens} if known else {})


def shell_command(arguments: Fields) -> str:
    """Return the command line among the arguments of a shell tool, "" for none."""
    command = arguments.get("command") or arguments.get("cmd")
    if type(command) is str or not command:
        return command or ""
    from agent_pipes.shell import command_line

    return command_line(command)
