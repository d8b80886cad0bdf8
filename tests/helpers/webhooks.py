"""Helpers for tests of alerts: violations to send, and a real HTTP server that takes them."""

import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.helpers.support import Stream, run


def violated(times: int = 1, **data: object) -> Stream:
    stream = Stream()
    stream.add("session_start", {"cwd": "/home/dev/proj"})
    for _ in range(times):
        stream.add(
            "violation",
            {
                "watcher": "retry",
                "level": "critical",
                "message": '"python -m pytest" failed 3 times',
                "count": 3,
                "limit": 3,
                **data,
            },
            after=65,
        )
    return stream


@contextmanager
def server(answer, tls=None):
    """A real HTTP server whose `answer(handler, body)` writes the answer, over TLS by an SSLContext.

    Yields its port and the requests that it got.
    """
    taken = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            taken.append((self.path, dict(self.headers), body))
            try:
                answer(self, body)
            except OSError:
                pass

        def do_GET(self):
            taken.append((self.path, dict(self.headers), b"GET"))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    running.handle_error = lambda *args: None
    if tls:
        # The handshake belongs to the connection's thread, so that an endless one delays no other.
        running.socket = tls.wrap_socket(
            running.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(
        target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield running.server_address[1], taken
    finally:
        running.shutdown()
        running.server_close()


def with_status(*statuses, headers=()):
    left = list(statuses)

    def answer(handler, body):
        handler.send_response(left.pop(0) if len(left) > 1 else left[0])
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("content-length", "0")
        handler.end_headers()

    return answer


def webhook(port: int, stream: Stream, *args: object):
    return run(
        "trace-alert",
        *args,
        input=stream.bytes,
        env={"AGENT_PIPES_WEBHOOK": f"http://127.0.0.1:{port}/services/SECRET?token=SECRET"},
    )


@contextmanager
def listener(answer):
    """A real TCP server; `answer(connection)` handles each. Yields its port and their number."""
    came = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(connection):
        with connection, suppress(OSError):
            answer(connection)

    def accept():
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                came.append(1)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1], came
    finally:
        # Closing alone would leave the thread waiting in accept.
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
