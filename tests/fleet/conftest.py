"""Hosts, brokers and figures of the fleet's tests, which run only where asked for: `make fleet`."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.helpers.pages import files
from tests.helpers.support import BIN, ROOT, until

HERE = Path(__file__).resolve().parent
PAGE = ROOT / "man" / "agent-pipes-fleet.7"
FIGURES: list[str] = []
SETUP_S = 30.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = [Path(word.split("::")[0]).resolve() for word in config.args]
    if not any(HERE in (path, *path.parents) for path in asked):
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="the fleet is tried by `make fleet`"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("figures for agent-pipes-fleet(7)")
        for line in FIGURES:
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def _patience() -> None:
    """Programs of the tests in a slow place are waited for, but not for ever."""
    signal.alarm(600)


def needs(*tools: str) -> pytest.MarkDecorator:
    """Skip by name what is not installed."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    gone = [tool for tool in tools if not shutil.which(tool, path=path)]
    return pytest.mark.skipif(bool(gone), reason=f"{', '.join(gone)} not installed")


def shown(name: str) -> str:
    """The text of a file that agent-pipes-fleet(7) shows."""
    return files(PAGE)[name]


class Programs:
    """Starts programs, and ends each with all that it has started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen] = []
        self.env = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin",
            "PYTHONPATH": str(ROOT),
        }
        # The commands run with the Python of the tests, which has the packages.
        (folder / "bin").mkdir()
        for name, program in {**{each.name: each for each in BIN.iterdir()}, "python3": ""}.items():
            starter = folder / "bin" / name
            starter.write_text(f'#!/bin/sh\nexec "{sys.executable}" {program} "$@"\n')
            starter.chmod(0o755)

    def start(self, *command: object, prefix: tuple[str, ...] = (), **more) -> subprocess.Popen:
        """Start a program in a process group of its own."""
        words = [*prefix, *map(str, command)]
        env = self.env | more.pop("env", {})
        more = {"cwd": self.folder, "start_new_session": True, **more}
        with (self.folder / f"stderr-{len(self.running)}").open("wb") as stderr:
            program = subprocess.Popen(words, env=env, stderr=stderr, **more)
        self.running.append(program)
        return program

    def shell(self, script: str, *, prefix: tuple[str, ...] = (), **more) -> subprocess.Popen:
        """Start a shell script."""
        return self.start("sh", "-c", script, prefix=prefix, **more)

    def stderr(self) -> str:
        """All that was reported, for a test that fails."""
        return "".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-2000:]}"
            for path in sorted(self.folder.glob("stderr-*"))
        )

    def end(self) -> None:
        for program in self.running[::-1]:
            # The group outlives its leader.
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    found = Programs(tmp_path)
    try:
        yield found
    finally:
        found.end()
        print(found.stderr())


class Host:
    """A machine of its own: a network and a PID namespace, a home directory, agents."""

    def __init__(self, name: str, address: str, programs: Programs) -> None:
        self.name, self.programs = name, programs
        self.home = programs.folder / name
        self.home.mkdir()
        self.init = programs.start(
            "unshare",
            "--net",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "sh",
            "-c",
            "ip link set lo up; sleep 100000",
        )
        children = Path(f"/proc/{self.init.pid}/task/{self.init.pid}/children")
        self.pid = int(until(children.read_text, SETUP_S).split()[0])
        until(
            lambda: (
                os.stat(f"/proc/{self.pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino
            )
        )
        until(
            lambda: (
                os.stat(f"/proc/{self.pid}/ns/pid").st_ino != os.stat("/proc/self/ns/pid").st_ino
            )
        )
        self.prefix = ("nsenter", "-t", str(self.pid), "--net", "--pid", "--mount", "--")
        self.link = f"ap{os.getpid() % 10000}{name}"
        for command in (
            f"ip link add {self.link} type veth peer name eth0 netns {self.pid}",
            f"ip addr add {address}1/24 dev {self.link}",
            f"ip link set {self.link} up",
            f"nsenter -t {self.pid} --net ip addr add {address}2/24 dev eth0",
            f"nsenter -t {self.pid} --net ip link set eth0 up",
        ):
            subprocess.run(command.split(), check=True, env=programs.env)
        self.gateway = f"{address}1"

    def shell(self, script: str, **more) -> subprocess.Popen:
        env = {"HOME": str(self.home), "BROKER": self.gateway, "HOST": self.name}
        # nsenter leaves the working directory.
        return self.programs.shell(
            f'cd "$HOME"; {script}',
            prefix=self.prefix,
            env=env | more.pop("env", {}),
            cwd=self.home,
            **more,
        )

    def agent(
        self, session: str, dollars: float, cwd: str = "proj", **options: object
    ) -> subprocess.Popen:
        """Start an agent of the session whose responses cost so many dollars."""
        folder = self.home / cwd
        folder.mkdir(exist_ok=True)
        last = options.pop("last_pid", None)
        before = f"echo {last} > /proc/sys/kernel/ns_last_pid; " if last else ""
        words = " ".join(f"--{name} {value}" for name, value in options.items())
        return self.shell(
            f"cd {cwd}; {before}{HERE / 'claude'} --session {session} --dollars {dollars} {words}"
        )

    def ended(self, session: str) -> float | None:
        """Seconds from the session's last response to its SIGTERM, None while it lives."""
        found = list(self.home.glob(f"*/{session}.ended"))
        return float(found[0].read_text() or "nan") if found else None

    def close(self) -> None:
        subprocess.run(
            ["ip", "link", "del", self.link], env=self.programs.env, stderr=subprocess.DEVNULL
        )


@pytest.fixture
def hosts(programs: Programs) -> Iterator[list[Host]]:
    """Two hosts, each with a link to the machine of the tests, where brokers and centre run."""
    tried = subprocess.run(
        ["unshare", "--net", "--pid", "--fork", "--mount-proc", "ip", "link"],
        env=programs.env,
        capture_output=True,
    )
    if tried.returncode:
        pytest.skip(f"no namespaces here: {tried.stderr.decode().strip()}")
    found: list[Host] = []
    try:
        for name, address in (("a", "10.77.1."), ("b", "10.77.2.")):
            found.append(Host(name, address, programs))
        yield found
    finally:
        for host in found:
            host.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(port: int, host: str = "127.0.0.1") -> Callable[[], bool]:
    """A condition: something listens on the port."""

    def condition() -> bool:
        with socket.socket() as client:
            return client.connect_ex((host, port)) == 0

    return condition
