"""A filter is a generator, `(events, **options) -> events`, that is both a command and a stage.

    @filter_command("trace-shorten")
    @click.option("--length", cls=Option, type=int, default=20)
    def shorten(events, length):
        ...

As a command it reads stdin and writes stdout (`shorten.main()`); as a stage it follows another
generator in the same process (`shorten.stage(waiter, length=3)(events)`). What it returns, if
anything, is its exit status.
"""

import errno
import gc
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, NoReturn, TypeVar

import click

from agent_pipes import __version__
from agent_pipes.core.display import escape_line, unbroken
from agent_pipes.core.event import Event
from agent_pipes.core.exit_status import ExitStatus, worst
from agent_pipes.core.help_format import Context
from agent_pipes.core.options import Option
from agent_pipes.core.stderr import warn, write_line
from agent_pipes.core.stream import Output, Reader, ReaderGone, UnreadableInputError, Waiter, die_of
from agent_pipes.core.usage import message_of, unexpected_argument

Events = Generator[Event, None, int | None]

AnyFilter = TypeVar("AnyFilter", bound="Filter")


class Stage:
    """A generator in a pipeline of one process, and its exit status."""

    def __init__(self, events: Any) -> None:
        self.events = events
        self.status: int = ExitStatus.OK

    def __iter__(self) -> Iterator[Event]:
        self.status = (yield from self.events) or ExitStatus.OK


class Command(click.Command):
    """A click command with the exit statuses of agent-pipes(7), and -h."""

    context_class = Context

    def main(self, args: Any = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        sys.exit(
            exit_status(
                lambda: super(Command, self).main(
                    args, prog_name or self.name, standalone_mode=False, **extra
                )
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; an error names this command, which click leaves out of some."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise


def exit_status(run: Callable[[], object]) -> int:
    """Return the exit status of `run`, in those of this suite; an error is reported first."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        # Set while the command was loaded; from here on click reports an interruption.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status = run()
        return _flushed(status if isinstance(status, int) else ExitStatus.OK)
    except click.exceptions.Exit as leave:
        return _flushed(leave.exit_code)
    except click.Abort:
        return ExitStatus.UNREADABLE
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        first, *more = message_of(error).split("\n")
        if context is None:
            warn(first)
        else:
            write_line(f"{context.command_path}: {first}")
        for line in more:
            write_line(line)
        if context is not None:
            write_line(unbroken(f"Try '{context.command_path} --help'."))
        return ExitStatus.UNREADABLE
    except OSError as error:
        if error.errno not in FULL:
            return _crashed(error)
        return _unwritable(error)
    except Exception as error:
        return _crashed(error)
    finally:
        # The process ends now: collecting its garbage would only take time.
        gc.freeze()


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _crashed(error: Exception) -> int:
    """Report a crash; its status is neither that of a violation nor that of a stream that ended."""
    if os.environ.get("AGENT_PIPES_TRACEBACK"):
        raise error
    at = error.__traceback__
    while at and at.tb_next:
        at = at.tb_next
    where = f" ({os.path.basename(at.tb_frame.f_code.co_filename)}:{at.tb_lineno})" if at else ""
    warn(f"internal error: {type(error).__name__}: {error}{where}; nothing is watched now")
    return ExitStatus.NOT_KILLED


def _flushed(status: int) -> int:
    """Return `status`, once click's output is written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        die_of(signal.SIGPIPE)
    except OSError as error:
        return _unwritable(error)
    return status


def _unwritable(error: OSError) -> int:
    warn(f"standard output: {error.strerror}")
    # The interpreter would try to write again at its end, and report that again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return ExitStatus.UNREADABLE


TERMINAL_EXAMPLES = {
    "trace-cost": "trace-tail | trace-cost; a bill of all sessions: trace-cost --all --by day",
    "trace-status": "trace-tail --all | trace-cost | trace-status --all >/dev/null",
}
"""Pipelines that were probably meant by a filter without one."""


class Filter(Command):
    """A filter: a generator with its options, run as a command or as a stage."""

    def __init__(
        self,
        name: str,
        generator: Callable[..., Events],
        reads: bool,
        must_run: bool,
        **extra: Any,
    ) -> None:
        super().__init__(name, callback=self._run, **extra)
        self.generator = generator
        self.reads = reads
        self.must_run = must_run
        self.params += [
            click.Option(
                ["-e", "--exit-status", "exit_status"],
                is_flag=True,
                help="Exit with 1 if a violation was seen.",
            ),
        ]
        code = generator.__code__
        self.wants_waiter = "waiter" in code.co_varnames[: code.co_argcount]

    @property
    def options(self) -> list[Option]:
        """The filter's own options, in the order of their declaration."""
        return [param for param in self.params if isinstance(param, Option)]

    def stage(self, waiter: Waiter, **options: Any) -> Callable[[Iterable[Event]], Stage]:
        """Return this filter as a stage; options that are not given have their default."""
        values = {option.name: option.fallback for option in self.options} | options
        if self.wants_waiter:
            values["waiter"] = waiter
        return lambda events: Stage(
            self.generator(events, **values) if self.reads else self.generator(**values)
        )

    def command_line(self, **values: Any) -> list[str]:
        """Return the command line of a stage with these options."""
        words, arguments = [str(self.name)], []
        for param in self.params:
            value = values.get(param.name or "")
            if (
                value is None
                or value is False
                or value == ()
                or (isinstance(param, Option) and value == param.fallback)
            ):
                continue
            if isinstance(param, click.Argument):
                arguments.append(str(value))
            elif isinstance(param, click.Option) and param.is_flag:
                words.append(param.opts[0])
            else:
                for each in value if isinstance(value, tuple) else (value,):
                    words += [param.opts[0], f"{each:g}" if isinstance(each, float) else str(each)]
        return words + arguments

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options; an argument too many is answered with what was probably meant."""
        ctx.allow_extra_args = True
        super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            raise click.UsageError(unexpected_argument(str(self.name), ctx.args[0]), ctx)
        return ctx.args

    def _run(self, exit_status: bool, **options: Any) -> int:
        if self.reads and sys.stdin is not None and sys.stdin.isatty():
            example = TERMINAL_EXAMPLES.get(str(self.name), f"trace-tail | {self.name}")
            raise click.UsageError(
                f"standard input is a terminal; events are read from it: {example}"
            )
        return run_pipeline([(self, options)], exit_status=exit_status)


LONE_SOURCE_INTERVAL_S = 2.0
"""Seconds between ticks of a source that is alone in its process: no other stage gets them."""


def run_pipeline(
    parts: list[tuple[Filter, dict[str, Any]]],
    *,
    exit_status: bool = False,
    fd: int | None = 1,
    waiter: Waiter | None = None,
) -> int:
    """Run a pipeline of filters in this process, to the end of the input; return the exit status.

    The first reads stdin unless it is a source. Events go to `fd`, or nowhere (None). Once every
    stage has cleaned up, the process dies of the signal that it got, or of SIGPIPE if its reader
    has gone.
    """
    if fd == 1:
        require_stdout()
    output = (
        Output(fd, must_run=any(part.must_run for part, _ in parts)) if fd is not None else None
    )
    waiter = waiter or Waiter()
    waiter.output = output
    if len(parts) == 1 and not parts[0][0].reads:
        waiter.interval = LONE_SOURCE_INTERVAL_S
    waiter.listen()
    reader = Reader(waiter)
    stages: list[Stage] = []
    events: Iterable[Event] = reader
    for part, options in parts:
        events = part.stage(waiter, **options)(events)
        stages.append(events)
    to_terminal = fd is not None and os.isatty(fd)
    seen = torn = False
    stream = iter(events)
    try:
        for event in stream:
            if event.type == "violation":
                seen = seen or event.data.get("level") != "warning"
            line = event.raw
            if output and line:
                # A last line without its newline gets one only if an event of ours follows.
                if torn and event.type:
                    output.write(b"\n")
                torn = line[-1] != 10
                output.write(escape_line(line) if to_terminal else line)
        if output:
            output.drain()
    except ReaderGone:
        close(stream)
        die_of(signal.SIGPIPE)
    except UnreadableInputError as error:
        warn(str(error))
        return ExitStatus.UNREADABLE
    except OSError as error:
        close(stream)
        warn(f"standard output: {error.strerror}")
        return ExitStatus.UNREADABLE
    if waiter.signal:
        die_of(waiter.signal)
    bad = ExitStatus.UNREADABLE if reader.bad else ExitStatus.OK
    return worst(
        [
            bad,
            ExitStatus.VIOLATION if seen and exit_status else ExitStatus.OK,
            *(stage.status for stage in stages),
        ]
    )


def close(stream: Iterator[Event]) -> None:
    """Close every stage, so that their `finally` clauses run."""
    if isinstance(stream, Generator):
        stream.close()


def require_stdout() -> None:
    try:
        os.fstat(1)
    except OSError:
        raise click.UsageError("standard output is closed, but events are written to it") from None


def filter_command(
    name: str, *, reads: bool = True, must_run: bool = False
) -> Callable[[Callable[..., Any]], Filter]:
    """Make a generator the command `name` and a stage. Its docstring is the help.

    reads:    False for a source, which takes no events.
    must_run: True for a stage that a reader which reads nothing must not stop.

    A parameter `waiter` of the generator is given that of the process.
    """
    return lambda generator: make_filter(Filter, name, generator, reads=reads, must_run=must_run)


def make_filter(
    cls: type[AnyFilter],
    name: str,
    generator: Callable[..., Any],
    *,
    reads: bool = True,
    must_run: bool = False,
) -> AnyFilter:
    """Return a filter of class `cls`, with the options that click's decorators left behind."""
    params = list(reversed(generator.__dict__.pop("__click_params__", [])))
    return cls(
        name,
        generator,
        reads=reads,
        must_run=must_run,
        params=[*params, version_option()],
        help=generator.__doc__,
    )


def version_option() -> click.Option:
    def show(context: click.Context, param: click.Parameter, value: bool) -> None:
        if value and not context.resilient_parsing:
            click.echo(f"{context.info_name} {__version__}")
            context.exit()

    return click.Option(
        ["--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=show,
        help="Show the version and exit.",
    )
