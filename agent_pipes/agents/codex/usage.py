"""Usage of a Codex thread, from counters that repeat, restart and are copied to other threads."""

from typing import NamedTuple

from agent_pipes.agents.fields import count
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.jsonl import Fields

MAX_TOTALS = 10_000
"""Totals of a thread that are recognised when they return."""


class Counts(NamedTuple):
    """Tokens. `cached` and `written` are parts of `prompt`, as `reasoning` is of `output`."""

    prompt: int
    cached: int
    written: int
    output: int
    reasoning: int

    def __add__(self, other: "Counts") -> "Counts":  # type: ignore[override]
        return Counts(*[mine + its for mine, its in zip(self, other, strict=True)])

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(*[max(0, mine - its) for mine, its in zip(self, other, strict=True)])

    def spans(self, other: "Counts") -> bool:
        """Return True if no count of `other` is greater than this one's."""
        return all([mine >= its for mine, its in zip(self, other, strict=True)])

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
    """Return the counts of one of Codex's usage objects, None if it is none."""
    if type(usage) is not dict:
        return None
    return Counts(
        count(usage, "input_tokens"),
        count(usage, "cached_input_tokens"),
        count(usage, "cache_write_input_tokens"),
        count(usage, "output_tokens"),
        count(usage, "reasoning_output_tokens"),
    )


class Meter:
    """The responses of one thread, each counted once.

    Each `token_count` has the thread's total and the last response's own counts. The same total
    again reports something else (a rate limit, an estimate after a compaction). Growth is the usage
    since, also by aborted requests, which are in no response's own counts. A smaller total has
    restarted: then only the response's own counts are known. From version 0.153 a
    `token_usage_record` reports each response, with its id, mostly before the `token_count`.
    A review counts from zero and returns to the total before it: a total that was seen before adds
    nothing, and a jump counts from the highest total so far.

    A forked thread, and some subagents, continue the total of their origin (`inherits`).
    """

    def __init__(self) -> None:
        self.inherits = False
        self._total: Counts | None = None
        self._highest = NOTHING
        self._totals: BoundedDict[Counts, None] = BoundedDict(MAX_TOTALS)

    def copied(self, info: Fields) -> None:
        """Start from the total on a line that was copied from another thread."""
        total = counts(info.get("total_token_usage")) or counts(info.get("thread_token_usage"))
        if total:
            self._total = total
            self._totals[total] = None

    def counted(self, info: Fields) -> list[Counts]:
        """Return the usage since the last `token_count`: unreported responses, then the last."""
        total, last = counts(info.get("total_token_usage")), counts(info.get("last_token_usage"))
        if total is None:
            return _used(last)
        before, self._total = self._total, total
        highest = self._highest
        if total.spans(highest):
            self._highest = total
        if total in self._totals:
            return []
        self._totals[total] = None
        if before is None:
            if self.inherits:
                return _used(last)
            before = NOTHING
        if total == before:
            return []
        if total.prompt < before.prompt or total.output < before.output:
            return _used(last)
        if total - before != last and total.spans(highest):
            before = highest
        used = total - before
        if last is not None and used.spans(last):
            # One request of both sizes could pass a price threshold that neither passes.
            return [*_used(used - last), *_used(last)]
        return _used(used)

    def recorded(self, payload: Fields) -> list[Counts]:
        """Return the usage of the response that a `token_usage_record` reports."""
        used, total = (
            counts(payload.get("usage")) or NOTHING,
            counts(payload.get("thread_token_usage")),
        )
        if total is None:
            total = (self._total or NOTHING) + used
        elif total == self._total:
            return []
        self._total = total
        self._totals[total] = None
        if total.spans(self._highest):
            self._highest = total
        return _used(used)


def _used(used: Counts | None) -> list[Counts]:
    return [used] if used is not None and (used.prompt or used.output) else []
