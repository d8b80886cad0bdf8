"""Declares a detector: its command, its stage in `watch`, and what its users may ask of it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from agent_pipes.core.event import Event
from agent_pipes.core.filter import Filter, filter_command, make_filter
from agent_pipes.core.options import Option
from agent_pipes.core.steps import StepList, flatten_steps
from agent_pipes.detect.finding import Rules

if TYPE_CHECKING:
    from agent_pipes.detect.runner import DetectorRunner
    from agent_pipes.detect.session_state import DetectorSpec

VIOLATIONS_ONLY = frozenset(
    {"violation", "session_start", "session_end", "process", "history_start", "history_end", "tick"}
)
"""Types that go on downstream with --violations-only; a tick has no bytes."""


class DetectorFilter(Filter):
    """A filter that passes events on, with the violations of one detector.

    watcher:    its name in violations, in the config file and in `--disable`.
    rules:      returns the detector's rules for given options.
    per_agent:  each subagent has a state of its own.
    on_request: watch leaves it out unless one of its options is given.
    guards:     a session's record alone shows that it still holds, so a hook can refuse calls.
    thresholds: values of `--max` for the table of `agent-strace backtest`.
    """

    watcher: str
    rules: Callable[..., Rules]
    per_agent: bool
    guards: bool
    on_request: bool
    thresholds: tuple[float, ...]

    def spec(
        self,
        *,
        alert: tuple[str, ...] = (),
        steps: tuple[str, ...] = (),
        ignored: tuple[str, ...] = (),
        **options: Any,
    ) -> "DetectorSpec":
        """Return the detector, configured. Raises click.UsageError for options that contradict."""
        from agent_pipes.detect.session_state import DetectorSpec

        return DetectorSpec(
            self.watcher,
            self.rules(**options),
            tuple(alert),
            self.per_agent,
            flatten_steps(steps),
            tuple(ignored),
        )

    @property
    def own_names(self) -> dict[str, str]:
        """The names of its options, by those that they have in `watch`."""
        options = [each for each in self.options if isinstance(each, Option) and each.flag]
        return {option.flag: option.opts[0] for option in options}

    def configured(self, options: dict[str, Any]) -> "DetectorSpec":
        """Return the detector with `options`, and defaults for the others."""
        defaults = {str(option.name): option.fallback for option in self.options}
        return self.spec(**{**defaults, **options})


def detector(
    watcher: str,
    *,
    per_agent: bool = False,
    guards: bool = False,
    on_request: bool = False,
    exceptions: bool = False,
    thresholds: tuple[float, ...] = (),
) -> Callable[[Callable[..., Rules]], DetectorFilter]:
    """Make `trace-detect-WATCHER` of a function that returns a detector's rules for its options.

    Its docstring is the help. `--alert`, `--steps` and `--violations-only` are added, and
    `--except` if it has `exceptions`. See DetectorFilter for the other arguments.
    """

    def decorate(rules: Callable[..., Rules]) -> DetectorFilter:
        def run(
            events: Iterable[Event], violations_only: bool = False, **options: Any
        ) -> Iterable[Event]:
            from agent_pipes.detect.runner import DetectorRunner

            judged = DetectorRunner(events, [replace(part.spec(**options), renamed=part.own_names)])
            if violations_only:
                return (event for event in judged if event.type in VIOLATIONS_ONLY)
            return judged

        run.__doc__ = rules.__doc__
        run = _violations_only_option(run)
        run = _alert_option(watcher)(_steps_option(watcher)(run))
        if exceptions:
            run = _except_option(watcher)(run)
        # click reads the list from its end: --steps and --alert come last.
        run.__dict__["__click_params__"] += rules.__dict__.pop("__click_params__", [])
        part = make_filter(DetectorFilter, f"trace-detect-{watcher}", run)
        part.watcher, part.rules, part.per_agent = watcher, rules, per_agent
        part.guards, part.on_request = guards, on_request
        part.thresholds = thresholds
        return part

    return decorate


@filter_command("detectors")
def run_detectors(
    events: Iterable[Event], specs: "list[DetectorSpec]", strict: bool
) -> "DetectorRunner":
    """Run several detectors as one stage: one that fails does not end the others."""
    from agent_pipes.detect.runner import DetectorRunner

    return DetectorRunner(events, specs, isolated=True, strict=strict)


Part = tuple[Filter, dict[str, Any]]
"""A filter with its options."""


def in_one_stage(parts: list[Part], *, strict: bool) -> list[Part]:
    """Return the parts of a pipeline with all detectors run by one driver, in the same place."""
    specs = [
        part.configured(options) for part, options in parts if isinstance(part, DetectorFilter)
    ]
    joined: list[Part] = []
    for part, options in parts:
        if not isinstance(part, DetectorFilter):
            joined.append((part, options))
        elif specs:
            joined.append((run_detectors, {"specs": specs, "strict": strict}))
            specs = []
    return joined


_violations_only_option = click.option(
    "--violations-only",
    is_flag=True,
    help="Pass on only violations, and the events that delimit sessions.",
)


def _steps_option(watcher: str) -> Callable[[Any], Any]:
    """Declare `--steps nudge,pause,kill`: what each further violation does to the agent."""
    return click.option(
        "--steps",
        cls=Option,
        key=f"{watcher}.on_violation",
        multiple=True,
        type=StepList(),
        help="Actions on the first and each further violation: nudge, pause, kill.",
    )


def _except_option(watcher: str) -> Callable[[Any], Any]:
    """Declare `--except PATTERN`: tools and commands that a detector leaves alone."""
    return click.option(
        "--except",
        "ignored",
        cls=Option,
        key=f"{watcher}.except",
        multiple=True,
        metavar="PATTERN",
        help="Tool or command to ignore, such as 'gdb*' or 'mcp__browser__*'; repeatable.",
    )


def _alert_option(watcher: str) -> Callable[[Any], Any]:
    """`--alert SINK`: restricts a detector's violations to some actions."""
    return click.option(
        "--alert",
        cls=Option,
        key=f"{watcher}.alert",
        multiple=True,
        type=click.Choice(["terminal", "file", "webhook", "exec", "kill"]),
        help="Restrict this detector's violations to these actions; repeatable.",
    )
