"""The fields of an event that describe a tool's result."""

from typing import Any

from agent_pipes.agents.tools import kind_of
from agent_pipes.core.event import digest
from agent_pipes.core.jsonl import Fields


def result_data(
    text: str, limit: int, key: str = "result", *, tool: str = "", same: str | None = None
) -> dict[str, Any]:
    """Return the result's head under `key` (`error` for a failure), its size and its digest.

    The head has at most `limit` bytes and ends at a character. Two results are the same if their
    digests are. Of a result that was cut, `result_like` is the digest of the whole text without
    volatile parts such as times and ids.

    tool: name of the tool; the contents of a file have no volatile parts.
    same: the text to compare, if lines of `text` differ from run to run.
    """
    content = text.encode(errors="surrogatepass")
    compared = content if same is None else same.encode(errors="surrogatepass")
    head = text if len(content) <= limit else content[:limit].decode(errors="ignore")
    data = {key: head, "result_bytes": len(content), "result_digest": digest(compared)}
    if len(content) > limit and (key == "error" or kind_of(tool) != "read"):
        from agent_pipes.core.text import mask_volatile

        masked = mask_volatile(text if same is None else same, failed=key == "error")
        data["result_like"] = digest(masked.encode(errors="surrogatepass"))
    return data


def hidden_outcome(command: str, text: str) -> Fields:
    """Return `outcome`, if a command hides its exit status and its whole output tells it."""
    if not command:
        return {}
    from agent_pipes.shell.summaries import summary_outcome

    found = summary_outcome(command, text)
    return {"outcome": found} if found else {}
