"""MQTT: two hosts, one broker, one centre, as agent-pipes-fleet(7) sets them up."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.fleet.conftest import FIGURES, answers, free_port, needs, shown
from tests.helpers.support import Stream, until

pytestmark = needs("mosquitto", "mosquitto_pub", "mosquitto_sub", "mosquitto_passwd", "unshare")

SLOW = 90.0
"""Seconds for which a step is waited for on a machine that does other things, too."""

NUMBER = 5_000


class Broker:
    """A mosquitto with the page's settings, or some of them."""

    def __init__(
        self, programs, *, without: tuple[str, ...] = (), users: bool = True, interval: int = 1
    ) -> None:
        self.programs, self.port = programs, 1883 if users else free_port()
        self.folder = programs.folder / "broker"
        self.folder.mkdir()
        self.folder.chmod(0o777)
        lines = [
            line.replace("/etc/mosquitto", str(self.folder))
            .replace("/var/lib/mosquitto", str(self.folder))
            .replace("autosave_interval 1", f"autosave_interval {interval}")
            .replace("listener 1883", f"listener {self.port} 0.0.0.0")
            for line in shown("mosquitto.conf").splitlines()
            if not line.startswith(without or "#")
        ]
        if not users:
            lines = [line for line in lines if not line.startswith(("password", "acl", "allow"))]
            lines.append("allow_anonymous true")
        (self.folder / "mosquitto.conf").write_text("\n".join([*lines, "user root", ""]))
        (self.folder / "acl.conf").write_text(shown("acl.conf"))
        (self.folder / "passwd").touch()
        for user in ("a", "b", "centre"):
            command = ["mosquitto_passwd", "-b", self.folder / "passwd", user, "secret"]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        self.start()

    def start(self) -> None:
        self.process = self.programs.start("mosquitto", "-c", self.folder / "mosquitto.conf")
        until(answers(self.port), SLOW, "the broker")

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def publish(self, user: str, topic: str, data: bytes) -> None:
        words = ["mosquitto_pub", "-u", user, "-P", "secret", "-q", "1", "-l", "-t", topic]
        subprocess.run([*words, "-p", str(self.port)], input=data, check=True, timeout=60)


def centre(programs, broker: Broker, **settings: str):
    env = {"BROKER": "127.0.0.1", "AUTH": "-P secret", **settings}
    folder = programs.folder / "centre"
    folder.mkdir(exist_ok=True)
    return programs.shell(shown("centre.sh"), env=env, cwd=folder)


def connected(broker: Broker, name: str):
    log = broker.programs.folder
    return lambda: any(f"as {name} " in path.read_text() for path in log.glob("stderr-*"))


def violation(session: str) -> bytes:
    stream = Stream(session, time.time())
    stream.add("violation", {"watcher": "cost", "level": "critical", "message": "$501"}, after=0.0)
    return stream.bytes


def identity(process) -> tuple[int, str]:
    """PID within its namespace, and the tick at which it started, of an agent that a shell runs."""
    tree = subprocess.run(
        ["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True
    ).stdout
    (pid,) = [
        int(line.split()[0])
        for line in tree.splitlines()
        if f"--session {process} " in line and "python" in line
    ]
    status = Path(f"/proc/{pid}/status").read_text()
    inner = int(status.partition("NSpid:")[2].split("\n")[0].split()[-1])
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return inner, ticks


@pytest.fixture
def fleet(programs, hosts):
    """Two hosts that send and obey, and a centre with a budget of $3 for each directory."""
    broker = Broker(programs)
    for host in hosts:
        host.shell(shown("host.sh"), env={"AUTH": "-P secret"})
    programs.centre = centre(programs, broker, PER="cwd", MAX="3")
    for name in ("a", "b", "a-kill", "b-kill", "centre", "centre-out"):
        until(connected(broker, name), SLOW, name)
    return broker, *hosts


def responses(programs) -> list[str]:
    """Ids of the responses in the centre's log."""
    content = (programs.folder / "centre" / "events.ndjson").read_bytes()
    events = [json.loads(line) for line in content.splitlines(keepends=True) if line[-1:] == b"\n"]
    return [each["data"]["response_id"] for each in events if "response_id" in each["data"]]


def test_an_agent_on_a_is_ended_by_a_budget_that_was_passed_on_b(fleet, programs):
    broker, a, b = fleet
    # Both hosts have a directory of this name, which is one project.
    for host in (a, b):
        (programs.folder / "shared").mkdir(exist_ok=True)
        (host.home / "shared").symlink_to(programs.folder / "shared")
    agents = {
        "a-works": a.agent("a-works", 0.2, "shared", pause=0.5),
        "b-spends": b.agent("b-spends", 1.4, "shared", pause=0.5),
        "b-healthy": b.agent("b-healthy", 0.001, "other", pause=0.2),
    }
    shared = programs.folder / "shared"
    for session in ("b-spends", "a-works"):
        until((shared / f"{session}.ended").exists, SLOW, f"the end of {session}")
    delays = [
        float((shared / f"{name}.ended").read_text() or "nan") for name in ("a-works", "b-spends")
    ]
    FIGURES.append(
        "append on a host to SIGTERM of its agent, over mosquitto and the centre: "
        + ", ".join(f"{1000 * each:.0f} ms" for each in delays)
    )
    assert agents["b-healthy"].poll() is None and b.ended("b-healthy") is None
    # A forged process, and violations of sessions that no host has, end nothing.
    bystander = b.shell("exec sleep 300")
    ticks = Path(f"/proc/{bystander.pid}/stat").read_text().rpartition(")")[2].split()[19]
    forged = Stream("unheard-of", time.time())
    forged.add("process", {"pid": bystander.pid, "started": ticks, "how": "registry"}, after=0.0)
    broker.publish("centre", "fleet/violations", forged.bytes + violation("unheard-of"))
    # One host may not end the agents of the other: it may not write violations.
    broker.publish("a", "fleet/violations", violation("b-healthy"))
    broker.publish("a", "fleet/b/events", violation("b-healthy"))
    time.sleep(2)
    assert bystander.poll() is None and b.ended("b-healthy") is None
    # That something would have come of it is seen by what the centre may send.
    broker.publish("centre", "fleet/violations", violation("b-healthy"))
    until(lambda: b.ended("b-healthy") is not None, SLOW, "the end of b-healthy")
    assert bystander.poll() is None


def test_equal_pids_and_ticks_on_two_hosts_are_two_agents(fleet, programs):
    broker, a, b = fleet
    for attempt in range(40):
        pair = [f"a-{attempt}", f"b-{attempt}"]
        pid = 5000 + 50 * attempt
        started = [
            host.agent(name, 0.0001, "own", pause=300, last_pid=pid)
            for host, name in zip((a, b), pair, strict=True)
        ]
        for host, name in zip((a, b), pair, strict=True):
            transcript = f".claude/projects/*/{name}.jsonl"
            until(lambda host=host, path=transcript: list(host.home.glob(path)), SLOW, name)
        if identity(pair[0]) == identity(pair[1]):
            break
        for each in started:
            os.killpg(each.pid, signal.SIGKILL)
    else:
        pytest.fail("no two agents had the same PID and tick")
    broker.publish("centre", "fleet/violations", violation(pair[0]))
    until(lambda: a.ended(pair[0]) is not None, SLOW, "the end of a's agent")
    time.sleep(1)
    assert b.ended(pair[1]) is None and started[1].poll() is None


def test_a_centre_that_is_killed_and_restarted_remembers_what_was_spent(fleet, programs):
    broker, a, _ = fleet
    a.agent("a-before", 1.4, pause=0.2, rounds=2)
    until(lambda: len(responses(programs)) == 2, SLOW, "two responses")
    os.killpg(programs.centre.pid, signal.SIGKILL)
    programs.centre.wait()
    centre(programs, broker, PER="cwd", MAX="3")
    # Alone it is far from the limit of three dollars.
    a.agent("a-after", 0.4, pause=2, rounds=2)
    until(lambda: a.ended("a-after") is not None, SLOW, "the end of a-after")
    assert a.ended("a-before") is None and len(responses(programs)) <= 4


def sent_through_a_crash(programs, without: tuple[str, ...]) -> tuple[int, int]:
    """(messages sent, different messages received) where the broker is killed half-way."""
    broker = Broker(programs, without=without, users=False)
    port = ("-p", str(broker.port))
    subscribe = ("mosquitto_sub", *port, "-i", "centre", "-c", "-q", "1", "-t", "events")
    # The centre is known to the broker, and away.
    subprocess.run([*subscribe, "-E"], check=True, timeout=60)
    half = NUMBER // 2
    for part in range(2):
        lines = b"".join(b"%d\n" % number for number in range(part * half, (part + 1) * half))
        words = ["mosquitto_pub", *port, "-q", "1", "-l", "-t", "events"]
        subprocess.run(words, input=lines, check=True, timeout=120)
        if not part:
            broker.kill()
            broker.start()
    received = programs.folder / "received"
    with received.open("wb") as file:
        programs.start(*subscribe, stdout=file)
    last = -1

    def quiet() -> bool:
        nonlocal last
        before, last = last, len(received.read_bytes().split())
        time.sleep(1)
        return before == last

    until(quiet, SLOW)
    return NUMBER, len(set(received.read_bytes().split()))


def test_the_broker_is_killed_half_way_and_nothing_is_lost(programs):
    sent, received = sent_through_a_crash(programs, ())
    FIGURES.append(f"mosquitto, SIGKILL half-way, the page's settings: {received} of {sent}")
    assert received == sent


@pytest.mark.parametrize(
    "without", [("max_queued",), ("persistence true",), ("autosave",)], ids=lambda each: each[0]
)
def test_without_a_setting_acknowledged_messages_are_lost(programs, without):
    sent, received = sent_through_a_crash(programs, without)
    FIGURES.append(f"mosquitto, without {without[0]}: {received} of {sent}")
    assert received < sent


def test_a_sender_goes_on_when_the_broker_is_back(fleet, programs):
    broker, a, _ = fleet
    a.agent("a-works", 0.001, pause=0.2)

    def seen() -> set[str]:
        return set(responses(programs))

    until(lambda: len(seen()) > 5, SLOW)
    broker.kill()
    time.sleep(1)
    broker.start()
    before = seen()
    until(lambda: len(seen()) > len(before) + 5, SLOW, "events after the crash")
    numbers = sorted(int(each.split("_")[1]) for each in seen() if each.startswith("msg_"))
    assert numbers == list(range(1, len(numbers) + 1))
