"""Pricing options of trace-cost and trace-detect-cost."""

from collections.abc import Callable
from typing import Any, Literal

import click

from agent_pipes.core.options import Option

Grouping = Literal["session", "day", "project", "model"]
GROUPINGS: tuple[Grouping, ...] = ("day", "project", "model", "session")

NO_STAND_IN = "off"
"""Value of --unpriced-as that counts a model without a price as $0."""


class PriceFile(click.ParamType):  # type: ignore[type-arg]
    """Path of a price file, which is checked at the start."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path; fails if the file is invalid."""
        from agent_pipes.cost.price_file import load

        if not isinstance(value, str) or not value:
            self.fail(f"expected a price file, not {value!r}.", param, ctx)
        load(value)
        return value


def pricing_options(flags: bool) -> Callable[[Any], Any]:
    """Declare the pricing options; `flags` adds them to `agent-strace watch` and its config."""

    def option(*names: str, **extra: Any) -> Callable[[Any], Any]:
        name = names[0].removeprefix("--")
        where = {"flag": names[0], "key": f"cost.{name.replace('-', '_')}"} if flags else {}
        return click.option(*names, cls=Option, **where, **extra)

    def decorate(function: Any) -> Any:
        for each in (
            option("--recorded", is_flag=True, help="Use recorded usage only; do not estimate."),
            option(
                "--unpriced-as",
                metavar="MODEL",
                help="Use this model's price for models without one; 'off' counts them as $0.",
            ),
            option("--model", metavar="NAME", help="Model to assume for responses that name none."),
            option(
                "--prices",
                type=PriceFile(),
                help="Price file that overrides the built-in prices: LiteLLM's JSON, or our own.",
            ),
        ):
            function = each(function)
        return function

    return decorate


def _declared() -> list[Option]:
    command = click.command(pricing_options(flags=True)(lambda **_: None))
    return [param for param in command.params if isinstance(param, Option)]


PRICING_OPTIONS = _declared()
"""The pricing options, which have keys in the config file."""
