"""Program that is run after a kill, with a JSON object on its stdin: `trace-kill --then`."""

import os
import subprocess
from threading import Thread

from agent_pipes.core.jsonl import Fields, dumps
from agent_pipes.core.stderr import warn
from agent_pipes.process import helpers


class FollowUp:
    """Runs a command without a shell, once per kill; nothing waits for it before `finish`."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self._runs: list[Thread] = []

    def start(self, briefing: Fields) -> None:
        """Start the command with `briefing` on its stdin. What it prints goes to stderr."""
        try:
            child = helpers.spawn(
                lambda: subprocess.Popen(
                    self.words, stdin=subprocess.PIPE, stdout=2, start_new_session=True
                )
            )
        except OSError as error:
            warn(f"--then {self.words[0]}: {error.strerror}")
            return
        run = Thread(target=self._wait, args=(child, dumps(briefing) + b"\n"))
        run.start()
        self._runs.append(run)

    def finish(self) -> None:
        """Wait until all runs have ended."""
        for run in self._runs:
            run.join()
        self._runs.clear()

    def _wait(self, child: "subprocess.Popen[bytes]", line: bytes) -> None:
        try:
            child.communicate(line)
        except OSError:
            child.wait()
        finally:
            helpers.reaped(child.pid)
        if child.returncode:
            name = os.path.basename(self.words[0])
            warn(f"--then {name}: exited with status {child.returncode}")
