"""A real client's terminal interface, offline: in tmux, in a network namespace with the scripted model."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from tests.helpers.support import BIN, ENVIRONMENT, SHARED, events_of, until  # noqa: E402

TUI_START = (SHARED / "real" / "tui-start").resolve()

DEFAULT_NPM = Path(os.environ.get("TMPDIR", "/tmp"), "agent-pipes-real-npm")

PACKAGES = {"claude": "@anthropic-ai/claude-code", "codex": "@openai/codex"}

PROMPTS = {"claude": "❯", "codex": "›"}
"""Words that a client shows once it takes a prompt."""

QUESTIONS = {"Trust this folder?": ["Enter"], "Use existing model": ["Down", "Enter"]}
"""Questions that a client asks before it begins, and the keys that answer them."""

NEEDED = ("npm", "node", "unshare", "ip", "git", "tmux")


def missing(client: str) -> list[str]:
    """Return what a client's terminal needs and is not here."""
    home = Path(os.environ.get("REAL_NPM", DEFAULT_NPM), client, "node_modules", PACKAGES[client])
    return [
        *(name for name in NEEDED if not shutil.which(name)),
        *([] if TUI_START.exists() else ["tui-start beside the project"]),
        *([] if home.exists() else [f"{client} in $REAL_NPM"]),
    ]


def needs(client: str) -> pytest.MarkDecorator:
    """Skip by name a test whose client is not here."""
    absent = missing(client)
    return pytest.mark.skipif(bool(absent), reason=f"not here: {', '.join(absent)}")


class Terminals:
    """Terminals of one client that play one scenario together, and watchers beside them."""

    def __init__(self, client: str, scenario: str, directory: Path) -> None:
        self.client = client
        self.directory = directory
        self.project = directory / "proj"
        self.environment = {
            name: value
            for name, value in ENVIRONMENT.items()
            if not name.startswith(("TMUX", "CLAUDE", "ANTHROPIC", "CODEX", "OPENAI"))
        }
        self.environment |= {
            "HOME": str(directory / "home"),
            "REAL_NPM": os.environ.get("REAL_NPM", str(DEFAULT_NPM)),
        }
        self._watchers: list[subprocess.Popen[bytes]] = []
        ours = Path(__file__).with_name(f"{scenario}.json")
        if ours.exists():
            # The scenarios that the harness knows lie beside it; ours are named from there.
            scenario = os.path.relpath(ours.with_suffix(""), TUI_START.parent / "scenarios")
        subprocess.run(
            [TUI_START, client, scenario, directory],
            env=ENVIRONMENT | {"REAL_NPM": self.environment["REAL_NPM"]},
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def tmux(self, *words: str) -> str:
        """Run a command of tmux and return its output."""
        return subprocess.run(
            ["tmux", "-S", str(self.directory / "tmux"), *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def open(self, name: str) -> None:
        """Open a further terminal with a shell in the project."""
        self.tmux("new-window", "-t", "main", "-n", name, "-c", str(self.project))

    def keys(self, *keys: str, terminal: str = "main:0.0") -> None:
        """Press keys, named as tmux names them; other words are typed."""
        self.tmux("send-keys", "-t", terminal, *keys)

    def screen(self, terminal: str = "main:0.0") -> str:
        """Return what a terminal shows."""
        return self.tmux("capture-pane", "-p", "-t", terminal)

    def begin(self, command: str = "$AGENT", terminal: str = "main:0.0") -> None:
        """Start the client in a terminal and wait for its prompt."""
        self.keys(command, "Enter", terminal=terminal)
        self.see(PROMPTS[self.client], terminal=terminal)

    def say(self, text: str, terminal: str = "main:0.0") -> None:
        """Give the client a prompt or a command."""
        self.keys("-l", text, terminal=terminal)
        self.see(text, terminal=terminal)
        self.keys("Enter", terminal=terminal)

    def see(self, text: str, seconds: float = 60, terminal: str = "main:0.0") -> None:
        """Wait until a terminal shows `text`."""

        def seen() -> bool:
            screen = self.screen(terminal)
            for question, keys in QUESTIONS.items():
                if question in screen:
                    self.keys(*keys, terminal=terminal)
                    return False
            return text in screen

        with suppress(AssertionError):
            until(seen, seconds)
        assert text in self.screen(terminal), self.screen(terminal)

    @property
    def requests(self) -> int:
        """Number of times that the model was asked for the next step."""
        log = self.directory / "stub.log"
        return log.read_text().count('"main": true') if log.exists() else 0

    def asked(self, count: int, seconds: float = 60) -> None:
        """Wait until the model has been asked `count` times."""
        until(lambda: self.requests >= count, seconds, f"{count} requests")

    def watch(self, *arguments: str) -> "Watch":
        """Start `agent-strace watch` in the project, with the client's home."""
        number = len(self._watchers)
        events, told = (self.directory / f"{name}-{number}" for name in ("events", "told"))
        with events.open("wb") as out, told.open("wb") as err:
            process = subprocess.Popen(
                [BIN / "agent-strace", "watch", *arguments],
                cwd=self.project,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self._watchers.append(process)
        return Watch(process, events, told)

    def processes(self) -> list[int]:
        """Return the processes that have this home in their environment, the terminals' included."""
        mark = f"HOME={self.environment['HOME']}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def close(self) -> None:
        """End the watchers, the terminals and whatever the client has left."""
        for watcher in self._watchers:
            watcher.kill()
            watcher.wait()
        with suppress(subprocess.CalledProcessError):
            self.tmux("kill-server")
        for _ in range(3):
            for pid in self.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class Watch:
    """A watcher that runs beside the terminals."""

    def __init__(self, process: "subprocess.Popen[bytes]", events: Path, told: Path) -> None:
        self.process = process
        self._events = events
        self._told = told

    def of(self, kind: str) -> list[dict]:
        """Return the events of a type so far."""
        return events_of(self._events.read_bytes(), kind)

    @property
    def told(self) -> str:
        """Its stderr so far."""
        return self._told.read_text(errors="replace")

    def until(self, kind: str, count: int = 1, seconds: float = 60) -> list[dict]:
        """Wait for `count` events of a type and return those."""
        with suppress(AssertionError):
            until(lambda: len(self.of(kind)) >= count, seconds)
        assert len(self.of(kind)) >= count, (self.told, json.dumps(self.of(kind)))
        return self.of(kind)

    def ready(self) -> "Watch":
        """Wait until it has begun to watch."""
        until(lambda: self.told, 30, "its first line")
        return self
