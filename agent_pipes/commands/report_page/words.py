"""Numbers, times and texts as the page and the summary write them."""

import html
import re
import time
from collections.abc import Iterator

from agent_pipes.agents.registry import agent
from agent_pipes.commands.report_page.story import CallRow, Story
from agent_pipes.core.jsonl import Fields, dumps
from agent_pipes.detect.calls import PATHS

COMMAND_CHARS = 160
"""Characters of a command's first line that a row shows."""

_HOME = re.compile(r"^(?:/home/[^/]+|/Users/[^/]+|/root)(?=/|$)")
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)


def visible(text: str) -> str:
    """Return `text` with control characters and direction marks written out in angles."""
    text = text.encode(errors="replace").decode()
    return _HIDDEN.sub(lambda match: f"‹{ord(match[0]):04X}›", text.replace("\r\n", "\n"))


def escape(text: str) -> str:
    """Return `text` as HTML text: no markup, no invisible characters."""
    return html.escape(visible(text))


def clip(text: str, limit: int) -> str:
    """Return `text` cut to `limit` characters, at a word if one ends near the limit."""
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    space = cut.rfind(" ")
    return (cut[:space] if space > limit * 0.8 else cut).rstrip() + " …"


def clip_bytes(text: str, limit: int) -> str:
    """Return the longest head of `text` whose HTML takes at most `limit` bytes."""
    size = 0
    for place, char in enumerate(text[:limit]):
        size += len(escape(char).encode())
        if size > limit:
            return text[:place]
    return text[:limit]


def dollars(usd: float, estimated: bool = False) -> str:
    """Return `$0.35`; three digits below ten cents; `~` before an estimate."""
    mark = "~" if estimated else ""
    sign = "−" if usd < -0.0005 else ""
    digits = 3 if 0.0005 <= abs(usd) < 0.0995 else 2
    return f"{mark}{sign}${abs(usd):,.{digits}f}"


def clock(at: float, length: float) -> str:
    """Return seconds within a session of `length` seconds: `0:02.6`, `4:05`, `1:02:03`."""
    if length < 60:
        return f"{int(at // 60)}:{at % 60:04.1f}"
    whole = int(at)
    hours, minutes, seconds = whole // 3600, whole // 60 % 60, whole % 60
    if length >= 3600 or hours:
        return f"{hours}:{minutes:02}:{seconds:02}"
    return f"{minutes}:{seconds:02}"


def span(seconds: float) -> str:
    """Return a duration: `48 ms`, `2.6 s`, `1 min 54 s`, `12 min`, `1 h 46 min`, `3 d 4 h`."""
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{int(seconds)} s"
    minutes = int(seconds // 60)
    if minutes < 10:
        return f"{minutes} min {int(seconds % 60)} s".replace(" 0 s", "")
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min".replace(" 0 min", "")
    return f"{minutes // 1440} d {minutes // 60 % 24} h"


def day(epoch: float) -> str:
    """Return `22 November 2026, 16:39 UTC`."""
    moment = time.gmtime(epoch)
    months = "January February March April May June July August September October November December"
    month = months.split()[moment.tm_mon - 1]
    return f"{moment.tm_mday} {month} {moment.tm_year}, {time.strftime('%H:%M', moment)} UTC"


def count(number: int, one: str, many: str = "") -> str:
    """Return `1 call`, `21 calls`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def agent_title(name: str) -> str:
    """Return the name of an agent for users; `name` itself if it is unknown."""
    try:
        return agent(name).title or name
    except KeyError:
        return name


def place(story: Story) -> str:
    """Return the last two parts of the session's directory."""
    path = _HOME.sub("~", story.cwd)
    parts = [part for part in path.split("/") if part and part != "~"]
    return "/".join(parts[-2:]) or path


def short_path(path: str, cwd: str) -> str:
    """Return `path` without the session's directory, with `~` for a home directory."""
    if cwd and cwd != "/" and path.startswith(cwd.rstrip("/") + "/"):
        return path[len(cwd.rstrip("/")) + 1 :]
    return _HOME.sub("~", path)


def subject(row: CallRow, cwd: str) -> tuple[str, str, str]:
    """Return what the call is about in three parts: directory, main text, remark.

    Only the first may be cut by the page: a file's name is always seen.
    """
    arguments = row.arguments
    path = next((v for k, v in arguments.items() if k in PATHS and isinstance(v, str)), "")
    pattern = _text(arguments, "pattern", "regex", "query", "glob")
    command = arguments.get("command", arguments.get("cmd"))
    if pattern:
        inside = f" in {short_path(path, cwd)}" if path else ""
        return "", clip(f"“{pattern}”{inside}", COMMAND_CHARS), ""
    if path:
        directory, slash, name = short_path(path, cwd).rpartition("/")
        offset = arguments.get("offset")
        line = f":{offset}" if isinstance(offset, int) else ""
        return directory + slash, clip(name, COMMAND_CHARS), line
    if isinstance(command, list):
        command = " ".join(map(str, command))
    if isinstance(command, str) and command.strip():
        return "", clip(command.strip().splitlines()[0], COMMAND_CHARS), ""
    if row.changes:
        names = ", ".join(dict.fromkeys(short_path(each.path, cwd) for each in row.changes))
        return "", clip(names, COMMAND_CHARS), ""
    words = _text(arguments, "description", "prompt", "question", "url", "task", "message", "input")
    questions = arguments.get("questions")
    if not words and isinstance(questions, list) and questions and isinstance(questions[0], dict):
        words = _text(questions[0], "question", "header")
    if not words and arguments:
        words = dumps(arguments).decode(errors="replace")
    return "", clip(words.strip().splitlines()[0] if words.strip() else "", COMMAND_CHARS), ""


def label(row: CallRow, cwd: str) -> str:
    """Return the tool and what the call is about, in one line."""
    directory, main, remark = subject(row, cwd)
    return f"{row.tool} {directory}{main}{remark}".strip()


def _text(fields: Fields, *names: str) -> str:
    return next((fields[n] for n in names if isinstance(fields.get(n), str) and fields[n]), "")


def runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of each run of consecutive numbers."""
    start = 0
    for at, number in enumerate(numbers):
        if at + 1 == len(numbers) or numbers[at + 1] != number + 1:
            yield numbers[start], number
            start = at + 1
