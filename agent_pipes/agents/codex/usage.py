"""What a thread of Codex's has used, from counters that repeat, run on, restart and are copied to other threads."""

from typing import Any, NamedTuple

from agent_pipes.core.jsonl import Fields


class Counts(NamedTuple):
    """Tokens. `cached` and `written` are parts of `prompt`, as `reasoning` is of `output`."""

    prompt: int
    cached: int
    written: int
    output: int
    reasoning: int

    def __add__(self, other: "Counts") -> "Counts":  # type: ignore[override]
        return Counts(*(mine + its for mine, its in zip(self, other, strict=True)))

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(*(max(0, mine - its) for mine, its in zip(self, other, strict=True)))

    def spans(self, other: "Counts") -> bool:
        """Whether no count of `other` is greater than this one's."""
        return all(mine >= its for mine, its in zip(self, other, strict=True))

    def usage(self) -> Fields:
        """In the names of the vocabulary. The parts are never more than the whole."""
        cached = min(self.cached, self.prompt)
        return {
            "input_tokens": self.prompt,
            "output_tokens": self.output,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": min(self.written, self.prompt - cached),
            "reasoning_output_tokens": min(self.reasoning, self.output),
        }


NOTHING = Counts(0, 0, 0, 0, 0)


def counts(usage: object) -> Counts | None:
    """The counts that one of Codex's usage objects says, None where it is none."""
    if type(usage) is not dict:
        return None
    names = (
        "input_tokens",
        "cached_input_tokens",
        "cache_write_input_tokens",
        "output_tokens",
        "reasoning_output_tokens",
    )
    return Counts(*(_count(usage.get(name)) for name in names))


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 1 << 53 else 0


class Meter:
    """The responses of one thread, each counted once.

    Each `token_count` has the thread's total and the last response's own counts. The same total again is news of
    something else (a rate limit, an estimate after a compaction). A greater one is what was used since, also by
    requests that were broken off and are in no response's own counts. A smaller one began anew: there the response's
    own counts are all that is known. From version 0.153 a `token_usage_record` says the same of each response, with
    its id, mostly before the `token_count`.

    A forked thread, and some subagents, go on from the total of the thread they come from (`inherits`).
    """

    def __init__(self) -> None:
        self.inherits = False
        self._total: Counts | None = None

    def copied(self, info: Fields) -> None:
        """A line that was copied from another thread: what is counted there is where this one begins."""
        total = counts(info.get("total_token_usage")) or counts(info.get("thread_token_usage"))
        self._total = total or self._total

    def counted(self, info: Fields) -> list[Counts]:
        """What was used since the last time, by `token_count`: by the last response, and before it by those not told of."""
        total, last = counts(info.get("total_token_usage")), counts(info.get("last_token_usage"))
        if total is None:
            return _used(last)
        before, self._total = self._total, total
        if before is None:
            if self.inherits:
                return _used(last)
            before = NOTHING
        if total == before:
            return []
        if total.prompt < before.prompt or total.output < before.output:
            return _used(last)
        used = total - before
        if last is not None and used.spans(last):
            # Two requests are not one of both sizes: above a threshold that would have another price.
            return [*_used(used - last), *_used(last)]
        return _used(used)

    def recorded(self, payload: Fields) -> list[Counts]:
        """What the response used that a `token_usage_record` tells of."""
        used, total = (
            counts(payload.get("usage")) or NOTHING,
            counts(payload.get("thread_token_usage")),
        )
        if total is None:
            total = (self._total or NOTHING) + used
        elif total == self._total:
            return []
        self._total = total
        return _used(used)


def _used(used: Counts | None) -> list[Counts]:
    return [used] if used is not None and (used.prompt or used.output) else []
