"""A message that repeats itself, or the same message again and again."""

from collections.abc import Iterable

from agent_pipes.core.event import Event
from agent_pipes.detect.calls import Call
from agent_pipes.detect.finding import Finding

CHUNK_CHARS = 50
"""Characters that must recur."""

MIN_ROUNDS = 10
"""Rounds of a period after which a text repeats itself."""

MAX_PERIOD_CHARS = 250
"""Characters of the longest period."""

STRIDE_CHARS = 25
"""Characters between two looks at a text."""


class TextLoop:
    """The messages of one agent since its last call; `limit` is the number of equal ones allowed.

    A text repeats itself if its end has one period of at most MAX_PERIOD_CHARS for MIN_ROUNDS, and
    a round has two letters: a ruler of dashes and a frame have not. Fenced code is left out. A
    message may come in pieces (`delta`: true).
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
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
        kind = event.type
        if kind == "assistant_response":
            return self._says(event)
        typed = kind == "user_prompt" and event.text("origin") in ("", "person")
        if typed or kind in ("tool_call", "tool_result", "error"):
            self._start_over()
        return ()

    def holding(self, now: float) -> Iterable[Finding]:
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
            message = (
                f'detected loop ("{_short(chant)}") × {MIN_ROUNDS}, a message that repeats itself'
                "; without --text messages are not looked at"
            )
            found = Finding(
                ("chant", self.begun),
                message,
                evidence=(event.id,) if event.id else (),
                seen={"count": MIN_ROUNDS, "limit": MIN_ROUNDS},
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
        if not message or not self.limit or count < self.limit:
            return ()
        text = (
            f'detected loop ("{_short(message)}") × {count}, the same message each time'
            "; raise the limit with --max-repeats"
        )
        evidence = tuple(filter(None, self.said))
        return (
            Finding(
                ("message", self.first),
                text,
                (count // self.limit).bit_length(),
                "critical",
                evidence,
                {"count": count, "limit": self.limit},
            ),
        )

    def _chants(self, text: str) -> str:
        """Return the period that the message has with `text` appended; "" for none."""
        for number, part in enumerate(text.split("```")):
            if number:
                self.fenced = not self.fenced
                self.tail = ""
            if not self.fenced:
                before = len(self.tail)
                whole = self.tail + part
                for end in (*range(before + STRIDE_CHARS, len(whole), STRIDE_CHARS), len(whole)):
                    if period := _period(whole, end):
                        self.tail = ""
                        return whole[end - period : end]
                self.tail = whole[-(CHUNK_CHARS + MAX_PERIOD_CHARS * (MIN_ROUNDS - 1)) :]
        return ""


def _period(text: str, end: int) -> int:
    """Return the length of the period of the MIN_ROUNDS before `end`; 0 for none."""
    newest = text[max(0, end - CHUNK_CHARS) : end]
    if len(newest) < CHUNK_CHARS:
        return 0
    before = text.rfind(newest, max(0, end - CHUNK_CHARS - MAX_PERIOD_CHARS), end - 1)
    if before < 0:
        return 0
    period = end - CHUNK_CHARS - before
    start = end - CHUNK_CHARS - period * (MIN_ROUNDS - 1)
    if start < 0 or text[start : end - period] != text[start + period : end]:
        return 0
    return period if len({char for char in text[end - period : end] if char.isalpha()}) > 1 else 0


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"
