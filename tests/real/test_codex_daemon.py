"""Two terminals of the real Codex on one daemon: one session is ended, the other goes on.

What is tested runs beside a real client that only prints its help, in the environment that it was given: a directory
of its own, a scripted model, and no network. There this file is run as a program.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from agent_pipes.agents.base import Session  # noqa: E402
from agent_pipes.agents.codex import control_socket  # noqa: E402
from agent_pipes.agents.codex.agent import AGENT as CODEX  # noqa: E402
from agent_pipes.process import table  # noqa: E402
from tests.helpers.support import SHARED, until  # noqa: E402

RUN_AGENT = SHARED / "real" / "run-agent"

MISSING = [name for name in ("tmux", "node", "npm", "unshare", "ip") if not shutil.which(name)]

QUESTIONS = {"Trust this folder?": ["Enter"], "Use existing model": ["Down", "Enter"]}
"""Questions to a new user at the first start, and the keys that answer them."""


@pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {', '.join(MISSING)}")
@pytest.mark.skipif(not RUN_AGENT.exists(), reason="no run-agent beside the project")
@pytest.mark.parametrize("check", ["interruption", "breaker"])
def test_one_session_of_the_daemon_is_ended_and_the_other_goes_on(tmp_path, check):
    # The scenarios that run-agent knows lie beside it; ours is named from there.
    ours = os.path.relpath(
        Path(__file__).with_name("daemon-spiral"), RUN_AGENT.parent / "scenarios"
    )
    during = f"'{sys.executable}' '{Path(__file__).resolve()}' {check}"
    environment = {**os.environ, "DURING": during, "LIMIT": "20"}
    scenario = {"interruption": "slow", "breaker": ours}[check]
    subprocess.run(
        [RUN_AGENT, "codex", scenario, tmp_path, "--", "--help"],
        env=environment,
        stdout=subprocess.DEVNULL,
        timeout=400,
    )
    told = (tmp_path / "during.txt").read_text(errors="replace")
    assert told.rstrip().endswith("all as it should be"), told


class Terminal:
    """The terminal interface of Codex, in a session of tmux."""

    def __init__(self, name: str) -> None:
        self.name = name
        client = Path(os.environ["REAL_NPM"], "codex/node_modules/.bin/codex")
        begin = ["new-session", "-d", "-s", name, "-x", "120", "-y", "40"]
        tmux(
            *begin,
            str(client),
            "--dangerously-bypass-approvals-and-sandbox",
            f"{name}: fix the failing test",
        )

    def answer(self) -> None:
        screen = tmux("capture-pane", "-p", "-t", self.name)
        for question, keys in QUESTIONS.items():
            if question in screen:
                tmux("send-keys", "-t", self.name, *keys)


def tmux(*words: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "TMUX"} | {
        "TERM": "xterm-256color"
    }
    socket = f"{os.environ['HOME']}/tmux"
    return subprocess.run(
        ["tmux", "-S", socket, "-f", "/dev/null", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def whole_lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def kinds(session: Session) -> list[str]:
    """The types of the lines of the session's rollout."""
    return [
        record["payload"].get("type", record["type"])
        for record in map(json.loads, whole_lines(session.path))
    ]


def answered(session: Session) -> int:
    """Number of the model's answers in the session."""
    return kinds(session).count("token_usage_record")


def calling(terminal: Terminal, count: int) -> list[Session]:
    """Return the sessions that have called a tool, oldest first, once there are `count`."""
    terminal.answer()
    found = [session for session in CODEX.sessions() if "function_call" in kinds(session)]
    return sorted(found, key=lambda session: session.started) if len(found) >= count else []


def tools(session: Session, holder: table.Identity) -> list[table.Identity]:
    """The processes that the session has started, by what stands in their environment."""
    return [
        each.identity
        for each in table.below([holder.pid], table.all_processes())
        if table.environment_value(each.pid, CODEX.env_marker) == session.id
    ]


def two_sessions() -> tuple[Session, Session, table.Identity]:
    """Two sessions that call tools, and the one process that runs both."""
    terminal = Terminal("first")
    (alone,) = until(lambda: calling(terminal, 1), 90, "a call of the first session")
    terminal = Terminal("second")
    first, second = until(lambda: calling(terminal, 2), 90, "a call of the second session")
    assert first.id == alone.id
    holder = CODEX.process(first)
    assert holder and holder == CODEX.process(second), "one process holds both"
    assert CODEX.control_socket(first) == control_socket.socket_path(), (
        "it is reached over its socket, not by a signal"
    )
    return first, second, holder


def goes_on(ended: Session, other: Session, holder: table.Identity) -> None:
    """That nothing more happens in the one, and all in the other as if nothing had happened."""
    until(lambda: "turn_aborted" in kinds(ended), 2, "the rollout's word of it")
    answers, others = answered(ended), answered(other)
    until(
        lambda: answered(other) >= others + 2,
        30,
        "two more answers of the model to the other session",
    )
    assert answered(ended) == answers, "the first session has done nothing since"
    assert "turn_aborted" not in kinds(other)
    assert table.alive(holder)


def interruption() -> str:
    first, second, holder = two_sessions()
    started = until(lambda: tools(first, holder), 20, "a command of the first session")
    before = time.monotonic()
    assert control_socket.interrupt(control_socket.socket_path(), first.id) == "interrupted"
    took = (time.monotonic() - before) * 1000
    until(lambda: not any(map(table.alive, started)), 5, "the end of its command")
    goes_on(first, second, holder)
    assert control_socket.interrupt(control_socket.socket_path(), first.id) == "not_running"
    return f"interrupted in {took:.0f} ms"


def breaker() -> str:
    """Run the documented pipeline on the named session, which it keeps watching."""
    first, second, holder = two_sessions()
    pipeline = f"trace-tail {first.id} | trace-detect-retry --max 3 | trace-kill"
    environment = {**os.environ, "PATH": f"{ROOT / 'bin'}:{os.environ['PATH']}"}
    said = control_socket.home().parent / "breaker.ndjson"
    with said.open("wb") as file:
        running = subprocess.Popen(
            ["bash", "-c", pipeline], env=environment, stdout=file, start_new_session=True
        )
    try:
        killed = lambda: [
            event["data"]
            for event in map(json.loads, whole_lines(said))
            if event["event_type"] == "kill"
        ]
        (kill,) = until(killed, 60, "the breaker's word of it")
        assert (kill["outcome"], kill["pid"]) == ("interrupted", holder.pid), kill
        goes_on(first, second, holder)
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait()
    return "the breaker has ended the one that span"


def clean_up() -> None:
    """End the terminals, and the client's own daemon and updater."""
    with suppress(subprocess.CalledProcessError):
        tmux("kill-server")
    packages = str(control_socket.home() / "packages")
    for pid in table.all_processes():
        if any(word.startswith(packages) for word in table.command_line(pid)[:1]):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    try:
        print(
            {"interruption": interruption, "breaker": breaker}[sys.argv[1]]()
            + "; the other session goes on: all as it should be"
        )
    finally:
        clean_up()
