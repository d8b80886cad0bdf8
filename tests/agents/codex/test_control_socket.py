"""The control socket of Codex's daemon, against a stand-in that answers well and badly."""

import base64
import hashlib
import json
import os
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_pipes.agents.codex import control_socket
from agent_pipes.agents.codex.control_socket import Connection, ControlError, Refusal, interrupt
from agent_pipes.agents.codex.place import socket_path

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(
    opcode: int, payload: bytes, *, final: bool = True, masked: bool = False, reserved: int = 0
) -> bytes:
    """A frame as a server sends it (which never masks), or as a wrong one would."""
    first = (0x80 if final else 0) | reserved | opcode
    mark = 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, mark | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, mark | 126, size)
    else:
        head = struct.pack("!BBQ", first, mark | 127, size)
    return head + (b"\0\0\0\0" if masked else b"") + payload


class Client:
    """The stand-in's view of the client that has connected."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.file = connection.makefile("rb")

    def request(self) -> dict[str, str]:
        """The head of the request to become a WebSocket."""
        lines = []
        while (line := self.file.readline()) not in (b"\r\n", b""):
            lines.append(line.decode().rstrip("\r\n"))
        assert lines[0] == "GET / HTTP/1.1"
        return {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:])
        }

    def shake_hands(self) -> None:
        headers = self.request()
        assert (
            headers["upgrade"] == "websocket"
            and headers["connection"] == "Upgrade"
            and headers["sec-websocket-version"] == "13"
        )
        assert len(base64.b64decode(headers["sec-websocket-key"])) == 16
        accept = hashlib.sha1(
            headers["sec-websocket-key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        ).digest()
        self.send_raw(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
            + base64.b64encode(accept)
            + b"\r\n\r\n"
        )

    def send_raw(self, content: bytes) -> None:
        self.connection.sendall(content)

    def say(self, message: object) -> None:
        self.send_raw(frame(TEXT, json.dumps(message).encode()))

    def hear(self) -> tuple[int, bytes]:
        """The next frame, which must be whole and masked."""
        head = self.file.read(2)
        if len(head) < 2:
            raise EOFError
        assert head[0] & 0xF0 == 0x80 and head[1] & 0x80, "a client masks, and sends whole frames"
        size = head[1] & 0x7F
        if size >= 126:
            (size,) = (
                struct.unpack("!H", self.file.read(2))
                if size == 126
                else struct.unpack("!Q", self.file.read(8))
            )
        mask = self.file.read(4)
        return head[0] & 0x0F, bytes(
            byte ^ mask[at % 4] for at, byte in enumerate(self.file.read(size))
        )

    def call(self) -> dict:
        """The next message that is a call or a notification."""
        opcode, payload = self.hear()
        if opcode == CLOSE:
            raise EOFError
        return json.loads(payload)


Behaviour = Callable[[Client], None]


class Daemon:
    """Listens where the daemon would: behind a link, since a socket's own path must be short."""

    def __init__(self, home: Path) -> None:
        self.path = home / "app-server-control" / "app-server-control.sock"
        self.path.parent.mkdir(mode=0o700)
        self.folder = Path(tempfile.mkdtemp())
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(self.folder / "s"))
        self.listening.listen()
        self.path.symlink_to(self.folder / "s")
        self.threads: list[threading.Thread] = []
        self.wrong: list[BaseException] = []

    def behave(self, behaviour: Behaviour) -> None:
        """Serve the next client so."""

        def serve() -> None:
            with suppress(EOFError, ConnectionError):
                connection, _ = self.listening.accept()
                connection.settimeout(10)
                with connection:
                    try:
                        behaviour(Client(connection))
                    except AssertionError as error:
                        self.wrong.append(error)

        self.threads.append(threading.Thread(target=serve, daemon=True))
        self.threads[-1].start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()
        assert not self.wrong, self.wrong

    def close(self) -> None:
        self.listening.close()
        shutil.rmtree(self.folder)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CODEX_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def daemon(home) -> Iterator[Daemon]:
    daemon = Daemon(home)
    yield daemon
    daemon.close()


class Sessions:
    """The state of a daemon: its threads, the turns they are in, and what it was told to do."""

    def __init__(self, **turns: str) -> None:
        self.turns = dict(turns)
        self.parents: dict[str, str] = {}
        self.done: list[str] = []
        self.answers: dict[str, Callable[[dict], object]] = {
            "initialize": lambda params: {"userAgent": "stand-in"},
            "thread/loaded/list": lambda params: {"data": list(self.turns), "nextCursor": None},
            "thread/read": self.read,
            "thread/turns/list": self.list_turns,
            "turn/interrupt": self.interrupt,
            "thread/backgroundTerminals/clean": lambda params: self.note(
                "clean", params["threadId"]
            ),
        }

    def note(self, what: str, thread: str) -> dict:
        self.done.append(f"{what} {thread}")
        return {}

    def read(self, params: dict) -> dict:
        thread = params["threadId"]
        if thread not in self.turns:
            raise LookupError(f"thread not loaded: {thread}")
        status = {"type": "active", "activeFlags": []} if self.turns[thread] else {"type": "idle"}
        return {
            "thread": {"id": thread, "status": status, "parentThreadId": self.parents.get(thread)}
        }

    def list_turns(self, params: dict) -> dict:
        turn = self.turns[params["threadId"]]
        return {
            "data": [{"id": turn, "items": [], "status": "inProgress"}]
            if turn
            else [{"id": "old", "items": [], "status": "completed"}]
        }

    def interrupt(self, params: dict) -> dict:
        if self.turns[params["threadId"]] != params["turnId"]:
            raise LookupError("no such turn")
        self.turns[params["threadId"]] = ""
        return self.note("interrupt", params["threadId"])

    def answer(self, message: dict) -> dict:
        try:
            return {
                "id": message["id"],
                "result": self.answers[message["method"]](message["params"]),
            }
        except LookupError as error:
            return {"id": message["id"], "error": {"code": -32600, "message": str(error.args[0])}}

    def __call__(self, client: Client) -> None:
        client.shake_hands()
        first = client.call()
        assert first["method"] == "initialize" and first["params"]["capabilities"] == {
            "experimentalApi": True
        }
        client.say(self.answer(first))
        assert client.call() == {"method": "initialized"}
        while True:
            client.say(self.answer(client.call()))


# What it is for.


def test_the_running_turn_is_interrupted_and_what_it_left_running_is_ended(daemon):
    sessions = Sessions(mine="turn-1", other="turn-2")
    daemon.behave(sessions)
    assert interrupt(daemon.path, "mine") == "interrupted"
    daemon.join()
    assert sessions.done == ["interrupt mine", "clean mine"]
    assert sessions.turns == {"mine": "", "other": "turn-2"}, "the other session goes on"


def test_between_turns_there_is_nothing_to_interrupt(daemon):
    sessions = Sessions(mine="")
    daemon.behave(sessions)
    assert interrupt(daemon.path, "mine") == "not_running"
    daemon.join()
    assert sessions.done == ["clean mine"], (
        "what an earlier turn left running is ended all the same"
    )


def test_subagents_are_interrupted_with_their_session(daemon):
    sessions = Sessions(
        mine="turn-1",
        child="turn-2",
        grandchild="turn-3",
        idle="",
        other="turn-4",
        others_child="turn-5",
    )
    sessions.parents = {
        "child": "mine",
        "grandchild": "child",
        "idle": "mine",
        "others_child": "other",
    }
    daemon.behave(sessions)
    assert interrupt(daemon.path, "mine") == "interrupted"
    daemon.join()
    assert sessions.done[:3] == ["interrupt mine", "interrupt child", "interrupt grandchild"]
    assert sorted(sessions.done[3:]) == [
        "clean child",
        "clean grandchild",
        "clean idle",
        "clean mine",
    ]
    assert sessions.turns["other"] and sessions.turns["others_child"]


def test_a_subagent_that_works_on_alone_is_interrupted(daemon):
    sessions = Sessions(mine="", child="turn-2")
    sessions.parents = {"child": "mine"}
    daemon.behave(sessions)
    assert interrupt(daemon.path, "mine") == "interrupted"
    daemon.join()


def test_a_turn_that_begins_again_is_interrupted_again(daemon):
    sessions = Sessions(mine="turn-1")
    again = iter(["turn-2", "turn-3"])

    def restarts(params: dict) -> dict:
        done = Sessions.interrupt(sessions, params)
        sessions.turns["mine"] = next(again, "")
        return done

    sessions.answers["turn/interrupt"] = restarts
    daemon.behave(sessions)
    assert interrupt(daemon.path, "mine") == "interrupted"
    daemon.join()
    assert sessions.done.count("interrupt mine") == 3


def test_turns_that_begin_again_for_ever_are_said(daemon):
    sessions = Sessions(mine="turn")
    sessions.answers["turn/interrupt"] = lambda params: sessions.note("interrupt", "mine")
    daemon.behave(sessions)
    with pytest.raises(ControlError, match="began another turn each time"):
        interrupt(daemon.path, "mine")
    daemon.join()


def test_a_turn_that_has_only_just_begun_is_waited_for(daemon):
    sessions = Sessions(mine="turn-1")
    listed = iter([{"data": []}, {"data": [{"id": "old", "status": "completed"}]}])
    sessions.answers["thread/turns/list"] = lambda params: (
        next(listed, None) or Sessions.list_turns(sessions, params)
    )
    daemon.behave(sessions)
    assert interrupt(daemon.path, "mine") == "interrupted"
    daemon.join()
    assert sessions.done == ["interrupt mine", "clean mine"]


def test_a_turn_that_ends_before_it_is_interrupted_has_ended(daemon):
    sessions = Sessions(mine="turn-1")

    def too_late(params: dict) -> dict:
        sessions.turns["mine"] = ""
        raise LookupError("no active turn to interrupt")

    sessions.answers["turn/interrupt"] = too_late
    daemon.behave(sessions)
    assert interrupt(daemon.path, "mine") == "interrupted"
    daemon.join()


def test_an_older_daemon_is_asked_for_the_whole_thread(daemon):
    sessions = Sessions(mine="turn-1")
    del sessions.answers["thread/turns/list"]

    def read(params: dict) -> dict:
        whole = Sessions.read(sessions, params)
        if params["includeTurns"]:
            whole["thread"]["turns"] = [
                {"id": "turn-0", "status": "completed"},
                {"id": "turn-1", "status": "inProgress"},
            ]
        return whole

    sessions.answers["thread/read"] = read
    daemon.behave(sessions)
    assert interrupt(daemon.path, "mine") == "interrupted"
    daemon.join()


def test_a_session_that_the_daemon_does_not_have_is_an_error(daemon):
    daemon.behave(Sessions(other="turn-1"))
    with pytest.raises(Refusal, match="refused thread/read: thread not loaded: mine"):
        interrupt(daemon.path, "mine")
    daemon.join()


def test_an_interruption_that_is_refused_is_an_error(daemon):
    sessions = Sessions(mine="turn-1")

    def refuse(params: dict) -> dict:
        raise LookupError("not today")

    sessions.answers["turn/interrupt"] = refuse
    daemon.behave(sessions)
    with pytest.raises(ControlError, match="refused turn/interrupt: not today"):
        interrupt(daemon.path, "mine")
    daemon.join()


def test_background_commands_that_cannot_be_ended_are_an_error(daemon):
    sessions = Sessions(mine="turn-1")
    del sessions.answers["thread/backgroundTerminals/clean"]
    daemon.behave(sessions)
    with pytest.raises(ControlError, match="backgroundTerminals/clean"):
        interrupt(daemon.path, "mine")
    daemon.join()
    assert sessions.done == ["interrupt mine"]


def test_a_subagent_that_goes_while_it_is_spoken_of_is_no_error(daemon):
    sessions = Sessions(mine="turn-1", child="turn-2")
    sessions.parents = {"child": "mine"}

    def read(params: dict) -> dict:
        found = Sessions.read(sessions, params)
        if params["threadId"] == "child":
            del sessions.turns["child"]
        return found

    sessions.answers["thread/read"] = read
    daemon.behave(sessions)
    assert interrupt(daemon.path, "mine") == "interrupted"
    daemon.join()


# Whom it speaks to.


def test_only_codexs_own_socket_is_spoken_to(daemon, tmp_path):
    for path in (
        tmp_path / "other.sock",
        daemon.folder / "s",
        Path("app-server-control.sock"),
        Path("/"),
    ):
        with pytest.raises(ControlError, match="is not Codex's control socket"):
            interrupt(path, "mine")


def test_the_same_path_written_otherwise_is_the_same(daemon):
    daemon.behave(Sessions(mine=""))
    assert (
        interrupt(daemon.path.parent / ".." / daemon.path.parent.name / daemon.path.name, "mine")
        == "not_running"
    )
    daemon.join()


def test_no_daemon_is_said(home):
    with pytest.raises(ControlError, match="is the Codex daemon running"):
        interrupt(socket_path(), "mine")


def test_a_daemon_that_has_gone_is_said(daemon):
    daemon.listening.close()
    with pytest.raises(
        ControlError, match="connection to the Codex daemon failed: Connection refused"
    ):
        interrupt(daemon.path, "mine")


def test_a_file_is_no_socket(home):
    path = socket_path()
    path.parent.mkdir()
    path.touch()
    with pytest.raises(ControlError, match="is not a socket"):
        interrupt(path, "mine")


def test_a_socket_that_others_could_have_put_there_is_not_spoken_to(daemon):
    daemon.path.parent.chmod(0o777)
    with pytest.raises(ControlError, match="other users can write there"):
        interrupt(daemon.path, "mine")


def test_a_socket_of_another_users_is_not_spoken_to(daemon, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ControlError, match="other users can write there"):
        interrupt(daemon.path, "mine")


@pytest.mark.skipif(
    not hasattr(socket, "SO_PEERCRED"), reason="this system does not tell who listens"
)
def test_another_user_that_answers_is_not_spoken_to(daemon, monkeypatch):
    path = control_socket._checked(daemon.path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ControlError, match="another user answers"):
        Connection(path, 5)


# The WebSocket.


def connected(daemon: Daemon, behaviour: Behaviour, timeout: float = 5) -> Connection:
    def after(client: Client) -> None:
        client.shake_hands()
        behaviour(client)

    daemon.behave(after)
    return Connection(control_socket._checked(daemon.path), timeout)


RESULT = b'{"id":1,"result":{"ok":true}}'


@pytest.mark.parametrize(
    "answer",
    [
        frame(TEXT, RESULT),
        frame(BINARY, RESULT),
        frame(PING, b"still there?") + frame(TEXT, RESULT),
        frame(PONG, b"") + frame(TEXT, RESULT),
        frame(TEXT, RESULT[:9], final=False)
        + frame(PING, b"")
        + frame(0, b"", final=False)
        + frame(0, RESULT[9:]),
        frame(TEXT, b"", final=False) + frame(0, RESULT),
        frame(TEXT, b'{"method":"turn/started","params":{}}') + frame(TEXT, RESULT),
        frame(TEXT, b'{"method":"item/commandExecution/requestApproval","id":1,"params":{}}')
        + frame(TEXT, RESULT),
        frame(TEXT, b'{"id":99,"result":{"ok":false}}')
        + frame(TEXT, b"[]")
        + frame(TEXT, b"null")
        + frame(TEXT, RESULT),
    ],
)
def test_the_answer_is_found_among_what_else_comes(daemon, answer):
    with connected(
        daemon, lambda client: (client.call(), client.send_raw(answer), client.hear())
    ) as connection:
        assert connection.call("a/method", some="thing") == {"ok": True}
    daemon.join()


def test_an_answer_that_comes_byte_by_byte_is_put_together(daemon):
    def slowly(client: Client) -> None:
        client.call()
        for at in range(len(whole)):
            client.send_raw(whole[at : at + 1])

    whole = frame(TEXT, RESULT)
    with connected(daemon, slowly) as connection:
        assert connection.call("a/method") == {"ok": True}
    daemon.join()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 300_000])
def test_messages_of_every_size_go_both_ways(daemon, size):
    def echo(client: Client) -> None:
        message = client.call()
        client.say({"id": message["id"], "result": message["params"]})

    text = "ä" * (size // 2)
    with connected(daemon, echo) as connection:
        assert connection.call("a/method", text=text) == {"text": text}
    daemon.join()


def test_a_ping_is_answered_with_what_it_says(daemon):
    heard = []

    def ping(client: Client) -> None:
        client.call()
        client.send_raw(frame(PING, b"are you there?"))
        heard.append(client.hear())
        client.send_raw(frame(TEXT, RESULT))

    with connected(daemon, ping) as connection:
        connection.call("a/method")
    daemon.join()
    assert heard == [(PONG, b"are you there?")]


def test_the_connection_is_closed_properly(daemon):
    heard = []
    with connected(daemon, lambda client: heard.append(client.hear())):
        pass
    daemon.join()
    assert heard == [(CLOSE, struct.pack("!H", 1000))]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            frame(CLOSE, struct.pack("!H", 1001) + b"going away"),
            "closed the connection: going away",
        ),
        (frame(CLOSE, b""), "closed the connection$"),
        (b"", "closed the connection$"),
        (frame(TEXT, RESULT)[:-1], "closed the connection$"),
        (frame(TEXT, RESULT, masked=True), "invalid WebSocket frame"),
        (frame(TEXT, RESULT, reserved=0x40), "invalid WebSocket frame"),
        (frame(PING, b"x" * 126), "invalid WebSocket frame"),
        (frame(PING, b"", final=False), "invalid WebSocket frame"),
        (frame(0, RESULT), "out of order"),
        (frame(TEXT, b"{", final=False) + frame(TEXT, b"}"), "out of order"),
        (frame(3, b""), "unknown type 3"),
        (frame(11, b""), "unknown type 11"),
        (struct.pack("!BBQ", 0x81, 127, 1 << 40), "longer than"),
        (
            frame(TEXT, b"x" * 1000, final=False)
            + struct.pack("!BBQ", 0x80, 127, control_socket.MAX_MESSAGE - 999),
            "longer than",
        ),
        (frame(TEXT, b"{"), "not JSON"),
        (frame(TEXT, b"\xff\xfe"), "not JSON"),
        (frame(TEXT, b'{"id":1,"error":{"message":"no"}}'), "refused a/method: no"),
        (frame(TEXT, b'{"id":1,"error":7}'), "refused a/method: it gave no reason"),
    ],
)
def test_a_daemon_that_does_not_speak_as_it_should_is_an_error(daemon, answer, said):
    with (
        connected(daemon, lambda client: (client.call(), client.send_raw(answer))) as connection,
        pytest.raises(ControlError, match=said),
    ):
        connection.call("a/method")
    daemon.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"\r\n\r\n",
        b"x" * 20_000,
    ],
)
def test_what_is_no_websocket_is_an_error(daemon, answer):
    daemon.behave(lambda client: (client.request(), client.send_raw(answer)))
    with pytest.raises(ControlError, match="does not answer as a WebSocket"):
        Connection(control_socket._checked(daemon.path), 5)
    daemon.join()


def test_a_daemon_that_hangs_up_at_once_is_an_error(daemon):
    daemon.behave(lambda client: None)
    with pytest.raises(ControlError):
        Connection(control_socket._checked(daemon.path), 5)


@pytest.mark.parametrize("stage", ["hands", "call", "talk", "flood"])
def test_a_daemon_that_does_not_answer_is_given_up_in_time(daemon, stage):
    over = threading.Event()

    def silent(client: Client) -> None:
        if stage != "hands":
            client.shake_hands()
            client.call()
        if stage == "talk":
            client.say({"method": "still/working"})
        while stage == "flood" and not over.is_set():
            client.say({"method": "still/working", "params": {"text": "x" * 1000}})
        over.wait(10)

    daemon.behave(silent)
    began = time.monotonic()
    with (
        pytest.raises(ControlError, match=r"gave no answer within 0.3 s"),
        Connection(control_socket._checked(daemon.path), 0.3) as connection,
    ):
        connection.call("a/method")
    assert time.monotonic() - began < 3
    over.set()
    daemon.join()


def test_the_time_is_for_all_calls_together(daemon):
    sessions = Sessions(mine="turn-1")
    sessions.answers["thread/turns/list"] = lambda params: {"data": []}
    daemon.behave(sessions)
    with pytest.raises(ControlError, match=r"gave no answer within 0.3 s"):
        interrupt(daemon.path, "mine", timeout=0.3)
    daemon.join()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["thread", "status", "type", "data", "id", "turns", "message"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    answers=st.lists(
        st.dictionaries(st.sampled_from(["result", "error", "method"]), JSON, max_size=2),
        min_size=1,
        max_size=4,
    )
)
def test_answers_of_wrong_types_raise_nothing_else(daemon, answers):
    def serve(client: Client) -> None:
        client.shake_hands()
        said = 0
        while True:
            message = client.call()
            if "id" in message:
                client.say({**answers[said % len(answers)], "id": message["id"]})
                said += 1

    daemon.behave(serve)
    with suppress(ControlError):
        assert interrupt(daemon.path, "mine", timeout=0.2) in ("interrupted", "not_running")
    daemon.join()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(min_size=1, max_size=60))
def test_bytes_of_any_kind_raise_nothing_else(daemon, content):
    with (
        connected(
            daemon, lambda client: (client.call(), client.send_raw(content)), 2
        ) as connection,
        pytest.raises(ControlError),
    ):
        connection.call("a/method")
    daemon.join()
