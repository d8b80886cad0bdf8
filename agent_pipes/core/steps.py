"""Steps that a violation can take against the agent, as options of the command line."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

STEPS = ("nudge", "pause", "kill")
"""Steps that a violation can take, from the mildest on; sinks only report it."""


class StepList(click.ParamType):  # type: ignore[type-arg]
    """Steps separated by commas, in the order in which they are taken: `nudge,pause,kill`."""

    name = "STEPS"
    expected = f"{', '.join(STEPS)}, or several such as nudge,pause,kill"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names of the steps."""
        if isinstance(value, tuple):
            return value
        steps = tuple(str(value).replace(" ", "").lower().split(","))
        for step in steps:
            if step not in STEPS:
                self.fail(f"expected {self.expected}, not {step!r}.", param, ctx)
        return steps

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        """Return the steps that the word after the last comma may be."""
        from click.shell_completion import CompletionItem

        before, comma, begun = incomplete.rpartition(",")
        return [
            CompletionItem(f"{before}{comma}{step}") for step in STEPS if step.startswith(begun)
        ]


class OnViolation(StepList):
    """`alert`, which is no step, or steps."""

    name = "alert|STEPS"
    expected = f"alert, {StepList.expected}"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names of the steps, none for `alert`."""
        return () if value in ("alert", ()) else super().convert(value, param, ctx)


def flatten_steps(steps: Iterable[str | tuple[str, ...]]) -> tuple[str, ...]:
    """Return the steps of an option that may be repeated as one sequence."""
    flat: list[str] = []
    for each in steps:
        flat += [each] if isinstance(each, str) else each
    return tuple(flat)
