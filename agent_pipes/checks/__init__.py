"""The checks of agent-strace doctor: generators of findings, none of which changes anything."""

from dataclasses import dataclass, field
from typing import Literal

from agent_pipes.core.jsonl import Fields

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """A finding of a check.

    check:   what was looked at.
    status:  `problem`: a breaker would not do what it is there for. `warning`: it would do it less
             well, or people
             should know.
    said:    a sentence for people, in which what comes from outside stands as it came.
    more:    the same for programs.
    """

    check: str
    status: Status
    said: str
    more: Fields = field(default_factory=dict)
