"""Names records that are no events; the rooms above register those who can."""

from collections.abc import Callable

from agent_pipes.core.jsonl import Fields

_describers: dict[str, Callable[[Fields], str]] = {}


def register(name: str, describe: Callable[[Fields], str]) -> None:
    """Let `describe` name records; it returns "" for those that it does not know."""
    _describers[name] = describe


def described(record: Fields) -> str:
    """Return what a record is, such as "a Claude Code transcript"; "" if nobody knows."""
    return next(filter(None, (describe(record) for describe in _describers.values())), "")
