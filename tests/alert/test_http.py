"""The webhook against real servers: sockets, TLS, and nothing of the URL in any output."""

import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from contextlib import nullcontext
from email.utils import formatdate

import pytest

from agent_pipes.alert.batching import AlertMessage, single
from agent_pipes.alert.delivery import Undelivered
from agent_pipes.alert.http import Endpoint, Sender, retry_after
from agent_pipes.core.event import Event
from tests.helpers.support import run
from tests.helpers.webhooks import listener, server, violated, webhook, with_status


def post(port: int, *, secure: bool = False, within: float = 1.0) -> None:
    """One request, given `within` seconds."""
    Endpoint(f"{'https' if secure else 'http'}://localhost:{port}/SECRET", allow_http=True).post(
        b"{}", time.monotonic() + within
    )


def trickle(connection: socket.socket, first: bytes, then: bytes) -> None:
    """Say something, and go on a byte at a time, for ever."""
    connection.sendall(first)
    while True:
        time.sleep(0.05)
        connection.sendall(then)


def reset(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


SILENCE = {
    "says nothing": silent,
    "a status line a byte at a time": lambda connection: trickle(connection, b"HTTP/1.1 ", b"2"),
}


@pytest.mark.parametrize("answer", SILENCE.values(), ids=SILENCE)
def test_an_answer_that_does_not_come_is_given_up_at_the_deadline(answer):
    with listener(answer) as (port, _):
        began = time.monotonic()
        with pytest.raises(Undelivered, match="no answer in time"):
            post(port)
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("drip", [b"x", b"X: x\r\n"], ids=["a byte", "a header"])
def test_headers_that_do_not_end_are_given_up_at_the_deadline_and_the_status_counts(drip):
    for status, raises in ((b"200", None), (b"500", "status 500"), (b"404", "status 404")):
        with listener(
            lambda connection, status=status: trickle(
                connection, b"HTTP/1.1 " + status + b" So\r\nX: ", drip
            )
        ) as (port, _):
            began = time.monotonic()
            with pytest.raises(Undelivered, match=raises) if raises else nullcontext():
                post(port, within=0.5)
            assert time.monotonic() - began < 3


HANDSHAKES = {
    "says nothing": silent,
    # The head of a record of 16,000 bytes, and then a byte of it now and then.
    "a byte at a time": lambda connection: trickle(connection, b"\x16\x03\x03\x3e\x80", b"\2"),
}


@pytest.mark.parametrize("answer", HANDSHAKES.values(), ids=HANDSHAKES)
def test_a_handshake_that_never_ends_is_given_up_at_the_deadline(answer):
    with listener(answer) as (port, _):
        began = time.monotonic()
        with pytest.raises(Undelivered, match="no answer in time"):
            post(port, secure=True)
        assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "body",
    [
        b"content-length: 1000000\r\n\r\nx",
        b"transfer-encoding: chunked\r\n\r\n",
        b"\r\n" + b"x" * 10_000_000,
    ],
    ids=["short", "chunked", "long"],
)
def test_a_status_is_an_answer_whatever_follows_it(body):
    def answer(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + body)
        silent(connection)

    with listener(answer) as (port, came):
        post(port, within=10)
        assert len(came) == 1


@pytest.mark.parametrize(
    "answer",
    [
        reset,
        lambda connection: None,
        lambda connection: connection.sendall(b"SECRET is no HTTP\r\n\r\n"),
    ],
    ids=["reset", "closed", "garbage"],
)
def test_what_is_no_answer_is_tried_three_times(answer):
    with listener(answer) as (port, came):
        done = webhook(port, violated(), "--to", "webhook")
        assert (
            done.returncode == 2
            and b"the webhook refused an alert" in done.stderr
            and b"SECRET" not in done.stderr
        )
        assert len(came) == 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status):
    with (
        server(with_status(200)) as (elsewhere, stolen),
        server(with_status(status, headers=[("Location", f"http://localhost:{elsewhere}/")])) as (
            port,
            taken,
        ),
    ):
        done = webhook(port, violated(), "--to", "webhook")
    assert (
        len(taken) == 1
        and stolen == []
        and b"a redirect, which is not followed" in done.stderr
        and done.returncode == 2
    )


def test_no_proxy_gets_the_url():
    with server(with_status(200)) as (proxy, seen), server(with_status(200)) as (port, taken):
        environment = {
            name: f"http://127.0.0.1:{proxy}"
            for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy")
        }
        run(
            "trace-alert",
            input=violated().bytes,
            env=environment | {"AGENT_PIPES_WEBHOOK": f"http://127.0.0.1:{port}/SECRET"},
        )
    assert len(taken) == 1 and seen == []


# Retry-After.


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("7", 7),
        ("0.25", 0.25),
        ("", 0),
        ("soon", 0),
        ("-1", 0),
        ("9" * 30, 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("1e9", 0),
        ("٣", 0),
    ],
)
def test_what_retry_after_says(text, seconds):
    assert retry_after(text) == seconds


def test_retry_after_may_be_a_date():
    assert 25 < retry_after(formatdate(time.time() + 30, usegmt=True)) <= 31


def delivered(port: int, pauses: list[float]) -> None:
    endpoint = Endpoint(f"http://127.0.0.1:{port}/SECRET", allow_http=False)
    Sender(endpoint, lambda batch: b"{}", sleep=pauses.append)(
        single(AlertMessage(Event(b"", {}), ""))
    )


def test_a_minute_is_waited_when_we_are_asked_to_and_the_time_begins_anew():
    pauses: list[float] = []
    answers = iter([("50", 429), ("60", 503), ("", 200)])

    def answer(handler, body):
        after, status = next(answers)
        with_status(status, headers=[("Retry-After", after)])(handler, body)

    with server(answer) as (port, taken):
        delivered(port, pauses)
    assert pauses == [50, 60] and len(taken) == 3


def test_an_hour_is_not():
    pauses: list[float] = []
    with (
        server(with_status(429, headers=[("Retry-After", "3600")])) as (port, taken),
        pytest.raises(Undelivered, match="status 429"),
    ):
        delivered(port, pauses)
    assert pauses == [] and len(taken) == 1


def test_tries_are_further_apart_each_time():
    pauses: list[float] = []
    with server(with_status(500)) as (port, taken), pytest.raises(Undelivered, match="status 500"):
        delivered(port, pauses)
    assert len(taken) == 3 and 0.2 <= pauses[0] <= 1 and 0.4 <= pauses[1] <= 2


# TLS.

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Return the file of a self-signed certificate for `host`, and a server's context with it."""
    folder = tmp_path_factory.mktemp("tls")

    def made(host: str):
        key, certificate = folder / f"{host}.key", folder / f"{host}.pem"
        words = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            f"/CN={host}",
            "-addext",
            f"subjectAltName=DNS:{host}",
            "-keyout",
            key,
            "-out",
            certificate,
        ]
        subprocess.run(words, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return certificate, context

    return {host: made(host) for host in ("localhost", "other.example")}


def over_tls(port: int, trusted: object = None):
    environment = {"AGENT_PIPES_WEBHOOK": f"https://localhost:{port}/services/SECRET"} | (
        {"SSL_CERT_FILE": str(trusted)} if trusted else {}
    )
    return run("trace-alert", "--to", "webhook", input=violated().bytes, env=environment)


@needs_openssl
def test_a_certificate_that_is_trusted_is_taken(certificates):
    trusted, context = certificates["localhost"]
    with server(with_status(200), tls=context) as (port, taken):
        done = over_tls(port, trusted)
    assert done.returncode == 0 and done.stderr == b"" and taken[0][0] == "/services/SECRET"


@needs_openssl
def test_one_that_signed_itself_is_not_and_is_not_tried_again(certificates):
    with server(with_status(200), tls=certificates["localhost"][1]) as (port, taken):
        done = over_tls(port)
    assert done.returncode == 2 and taken == [] and done.stderr.count(b"\n") == 1
    assert b"its certificate is not trusted (self-signed certificate)" in done.stderr


@needs_openssl
def test_another_hosts_is_not(certificates):
    trusted, context = certificates["other.example"]
    with server(with_status(200), tls=context) as (port, taken):
        done = over_tls(port, trusted)
    assert (
        done.returncode == 2
        and taken == []
        and b"not trusted (it is for another host)" in done.stderr
        and b"localhost" not in done.stderr
    )


def test_plain_http_on_the_tls_port_is_said():
    with server(with_status(200)) as (port, taken):
        done = over_tls(port)
    assert done.returncode == 2 and taken == [] and b"TLS failed (" in done.stderr


# Secrets.


def served_badly(name: str):
    if name in SILENCE:
        return listener(SILENCE[name])
    return {
        "reset": lambda: listener(reset),
        "garbage": lambda: listener(lambda connection: connection.sendall(b"SECRET\r\n\r\n")),
        "500": lambda: server(with_status(500)),
        "404": lambda: server(with_status(404)),
        "tls": lambda: server(with_status(200)),
        "429": lambda: server(with_status(429, headers=[("Retry-After", "SECRET")])),
        "301": lambda: server(with_status(301, headers=[("Location", "https://SECRET.invalid/")])),
    }[name]()


@pytest.mark.parametrize("form", ["json", "slack", "discord", "teams", "pagerduty"])
@pytest.mark.parametrize(
    "name", ["says nothing", "reset", "garbage", "500", "404", "429", "301", "tls"]
)
def test_no_failure_tells_the_url_or_the_key(name, form):
    with served_badly(name) as (port, _):
        scheme = "https" if name == "tls" else "http"
        environment = {
            "AGENT_PIPES_WEBHOOK": f"{scheme}://127.0.0.1:{port}/services/SECRET?sig=SECRET#SECRET",
            "AGENT_PIPES_PAGERDUTY_KEY": "SECRET" * 5 + "xx",
        }
        done = run(
            "trace-alert --to webhook --format",
            form,
            "--drain",
            "500ms",
            input=violated().bytes,
            env=environment | {"AGENT_PIPES_TRACEBACK": "1"},
        )
    assert (
        done.returncode == 2
        and b"SECRET" not in done.stdout + done.stderr
        and b"Traceback" not in done.stderr
    )
    assert b"the webhook " in done.stderr and str(port).encode() not in done.stderr


def test_ten_thousand_at_once_on_a_server_that_hangs_delay_nothing():
    hang = threading.Event()
    with server(lambda handler, body: hang.wait(30)) as (port, _):
        began = time.monotonic()
        done = webhook(port, violated(10_000), "--to", "webhook", "--drain", "off")
        assert done.stdout == violated(10_000).bytes and time.monotonic() - began < 15
        hang.set()
    told = done.stderr.decode()
    waiting, dropped = (
        int(told.partition(words)[2].split()[0]) for words in ("did not accept ", "was too slow: ")
    )
    assert waiting + dropped == 10_000 and done.returncode == 2
