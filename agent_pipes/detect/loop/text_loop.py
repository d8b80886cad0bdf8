"""A message that repeats itself, or the same message again and again."""

from collections.abc import Iterable

from agent_pipes.core.event import Event, is_person
from agent_pipes.detect.calls import Call
from agent_pipes.detect.finding import CALLS_AND_PROMPTS, Finding, seen

CHUNK_CHARS = 50
"""Characters that must recur."""

MIN_PLAIN_CHARS = 400
"""Characters that a period without two different letters (`0, 0, 0`) must fill."""

MAX_PERIOD_CHARS = 250
"""Characters of the longest period."""

STRIDE_CHARS = 25
"""Characters between two looks at a text."""


class TextLoop:
    """The messages of one agent since its last call.

    limit:  equal messages in a row that are allowed; 0 is no limit.
    rounds: rounds of a text within a message that are allowed; 0 is no limit.

    A text repeats itself if its end has one period of at most MAX_PERIOD_CHARS for so many rounds,
    and the period has a letter or a digit: a ruler of dashes and a frame have none. Fenced code is
    left out. A message may come in pieces (`delta`: true).
    """

    types = CALLS_AND_PROMPTS | {"assistant_response"}

    def __init__(self, limit: int, rounds: int) -> None:
        self.limit = limit
        self.rounds = rounds
        self.number = self.since = 0
        self.begun: str | int = ""
        self._start_over()

    def _start_over(self) -> None:
        self.message = ""
        self.first: str | int = ""
        self.said: list[str] = []
        self.standing: tuple[Finding, ...] = ()
        self._new_message()

    def _new_message(self) -> None:
        self.tail = ""
        self.fenced = False

    def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
        """Return the text or the message that has been repeated."""
        kind = event.type
        if kind == "assistant_response":
            return self._says(event)
        if kind in ("tool_call", "tool_result", "error") or is_person(event):
            self._start_over()
        return ()

    def holding(self, now: float) -> Iterable[Finding]:
        """Return what the latest message has repeated."""
        return self.standing

    def _says(self, event: Event) -> Iterable[Finding]:
        text = event.text("text")
        piece = event.data.get("delta") is True
        if not piece:
            self._new_message()
            self.number += 1
            self.begun = event.id or self.number
        self.standing = ()
        chant = self._chants(text)
        if chant:
            message = f'detected loop: "{_short(chant)}" × {self.rounds} within one message'
            found = Finding(
                ("chant", self.begun),
                message,
                evidence=(event.id,) if event.id else (),
                seen=seen(self.rounds, self.rounds, "--max-chant"),
            )
            self.standing = (found,)
        elif not piece:
            self.standing = self._again(event, " ".join(text.split()))
        return self.standing

    def _again(self, event: Event, message: str) -> tuple[Finding, ...]:
        if message != self.message:
            self.message, self.said = message, []
            self.since, self.first = self.number, event.id or self.number
        self.said = [*self.said, event.id][-50:]
        count = self.number - self.since + 1
        if not message or not self.limit or count < max(2, self.limit - 2):
            return ()
        text = f'detected loop: "{_short(message)}" × {count}, the same message each time'
        critical = count >= self.limit
        found = Finding(
            ("message", self.first),
            text,
            1 + critical,
            "critical" if critical else "warning",
            tuple(filter(None, self.said)),
            seen(count, self.limit, "--max-same-message"),
        )
        return (found,)

    def _chants(self, text: str) -> str:
        """Return the period that the message has with `text` appended; "" for none."""
        if not self.rounds:
            return ""
        for number, part in enumerate(text.split("```")):
            if number:
                self.fenced = not self.fenced
                self.tail = ""
            if not self.fenced:
                before = len(self.tail)
                whole = self.tail + part
                for end in (*range(before + STRIDE_CHARS, len(whole), STRIDE_CHARS), len(whole)):
                    if period := _period(whole, end, self.rounds):
                        self.tail = ""
                        return whole[end - period : end]
                self.tail = whole[-(CHUNK_CHARS + MAX_PERIOD_CHARS * (self.rounds - 1)) :]
        return ""


def _period(text: str, end: int, rounds: int) -> int:
    """Return the length of the period of the `rounds` before `end`; 0 for none."""
    newest = text[max(0, end - CHUNK_CHARS) : end]
    if len(newest) < CHUNK_CHARS:
        return 0
    before = text.rfind(newest, max(0, end - CHUNK_CHARS - MAX_PERIOD_CHARS), end - 1)
    if before < 0:
        return 0
    period = end - CHUNK_CHARS - before
    block = text[end - period : end]
    if not any(char.isalnum() for char in block):
        return 0
    if len({char for char in block if char.isalpha()}) < 2:
        rounds = max(rounds, -(-MIN_PLAIN_CHARS // period))
    start = end - CHUNK_CHARS - period * (rounds - 1)
    if start < 0 or text[start : end - period] != text[start + period : end]:
        return 0
    return period


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"
