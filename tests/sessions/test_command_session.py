"""A command that shows no session is watched by its duration (issue 13, number 8)."""

import os
import subprocess
import sys

import pytest

from agent_pipes.core.event import tick
from agent_pipes.detect.duration import detect_duration
from agent_pipes.detect.runner import DetectorRunner
from agent_pipes.process.table import began, identify
from agent_pipes.sessions.command_session import CommandSession


class Command:
    """A command that was started, ticks of the reader, and a clock."""

    def __init__(self, *words: str) -> None:
        self.child = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        self.identity = identify(self.child.pid)
        self.start = began(self.identity)
        self.elapsed = 0.0
        self.has_session_at = float("inf")
        self.stand_in = CommandSession(
            self.identity, lambda: self.elapsed >= self.has_session_at, lambda: self.elapsed
        )

    def events(self, seconds: int) -> list:
        def ticks():
            for each in range(1, seconds + 1):
                self.elapsed = float(each)
                yield tick(self.start + each)

        return self.stand_in.watch(ticks())

    def shown(self, seconds: int) -> list[str]:
        return [event.type for event in self.events(seconds) if event.session]


@pytest.fixture
def start():
    started = []

    def run(*words: str) -> Command:
        started.append(Command(*words))
        return started[-1]

    yield run
    for each in started:
        each.child.kill()
        each.child.wait()


def test_a_command_without_a_session_is_reported_after_ten_seconds_and_named(start, capfd):
    command = start("sleep", "60")
    assert command.shown(9) == [] and capfd.readouterr().err == ""
    assert command.shown(12) == ["session_start", "process", "tick", "tick"]
    assert capfd.readouterr().err.count("only its duration is watched") == 1


def test_its_duration_counts_by_the_clock_from_its_start(start):
    command = start("sleep", "60")
    spec = detect_duration.configured({"max": 30.0})
    found = [
        event for event in DetectorRunner(command.events(60), [spec]) if event.type == "violation"
    ]
    assert [event.session for event in found] == [f"command-{command.child.pid}"]
    assert found[0].time == pytest.approx(command.start + 30, abs=1)


def test_the_stand_in_ends_with_the_first_session_that_is_shown(start):
    command = start("sleep", "60")
    command.has_session_at = 13.0
    assert command.shown(20) == ["session_start", "process", "tick", "tick", "session_end"]


def test_a_session_that_is_shown_at_once_needs_no_stand_in(start, capfd):
    command = start("sleep", "60")
    command.has_session_at = 2.0
    assert command.shown(20) == [] and capfd.readouterr().err == ""


@pytest.mark.parametrize(("words", "watched"), [(["-p", "fix it"], True), ([], False)])
def test_an_agent_at_a_terminal_is_waited_for_unless_it_runs_without_a_person(
    start, tmp_path, monkeypatch, capfd, words, watched
):
    monkeypatch.setattr(os, "isatty", lambda fd: True)
    program = tmp_path / "claude"
    program.write_text("import time\ntime.sleep(60)\n")
    command = start(sys.executable, "-S", str(program), *words)
    assert bool(command.shown(20)) is watched
    assert ("the agent has shown no session" in capfd.readouterr().err) is watched
