"""NATS JetStream: the page's two programs, with the server killed half-way."""

import os
import signal

import pytest

from tests.fleet.conftest import FIGURES, answers, free_port, needs, shown
from tests.helpers.support import until

pytest.importorskip("nats")
pytestmark = needs("nats-server")

SLOW = 120.0
NUMBER = 2_000


@pytest.fixture
def server(programs):
    port = free_port()

    def start():
        found = programs.start("nats-server", "-js", "-sd", programs.folder / "js", "-p", port)
        until(answers(port), SLOW, "the server")
        return found

    return f"nats://127.0.0.1:{port}", start


def test_the_server_is_killed_half_way_and_nothing_is_lost(programs, server):
    url, start = server
    for name in ("nats_send.py", "nats_receive.py"):
        (programs.folder / name).write_text(shown(name))
    running = start()
    received = programs.folder / "received"
    sender = programs.shell(
        f"for i in $(seq {NUMBER}); do echo $i; [ $((i % 20)) != 0 ] || sleep 0.05; done | "
        f"python3 nats_send.py {url} fleet.a"
    )
    with received.open("wb") as file:
        until(lambda: any((programs.folder / "js").rglob("*.blk")), SLOW, "the stream")
        programs.start("python3", "nats_receive.py", url, "fleet.a", "centre", stdout=file)
    until(lambda: len(received.read_bytes().split()) > NUMBER // 4, SLOW)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    start()
    assert sender.wait(SLOW) == 0
    wanted = set(map(str, range(1, NUMBER + 1)))
    until(lambda: wanted <= set(received.read_text().split()), SLOW, "all messages")
    twice = len(received.read_text().split()) - NUMBER
    FIGURES.append(f"NATS JetStream, SIGKILL half-way: {NUMBER} of {NUMBER}, {twice} twice")
