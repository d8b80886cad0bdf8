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


def shell_command(arguments: Fields) -> str:
    """Return the command line among the arguments of a shell tool, "" for none."""
    command = arguments.get("command") or arguments.get("cmd")
    if type(command) is str or not command:
        return command or ""
    from agent_pipes.shell import command_line

    return command_line(command)
