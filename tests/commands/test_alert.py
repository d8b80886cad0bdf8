"""trace-alert: what people are told, where, and that nothing of it delays anything."""

import json
import os
import stat
import threading
import time

import pytest

from agent_pipes.alert.alert_file import AlertFile
from agent_pipes.commands.alert import Alerter
from agent_pipes.core.event import from_fields, make, tick
from tests.helpers.support import SESSION, Stream, events_of, run, start
from tests.helpers.webhooks import server, violated, webhook, with_status


def test_alert_terminal():
    done = run("trace-alert", input=violated().bytes)
    assert (
        done.stderr.decode()
        == 'trace-alert: +1:05  ⚠️  RetryWatcher: "python -m pytest" failed 3 times\n'
    )
    assert done.stdout == violated().bytes and done.returncode == 0


def test_a_violation_that_ends_the_session_says_so():
    assert (
        '❌ RetryWatcher: "python -m pytest" failed 3 times — killing session'
        in run("trace-alert", "--kills", input=violated().bytes).stderr.decode()
    )
    bound = violated(actions=["terminal", "kill"])
    assert "killing session" in run("trace-alert", input=bound.bytes).stderr.decode()
    warned = violated(level="warning")
    assert "killing" not in run("trace-alert", "--kills", input=warned.bytes).stderr.decode()


def test_what_became_of_the_process_is_told_where_trace_kill_does_not_tell_it_itself(tmp_path):
    stream = violated()
    stream.add(
        "kill", {"pid": 123, "signal": "TERM", "outcome": "failed", "reason": "it did not exit"}
    )
    done = run("trace-alert --to file --to terminal --file", tmp_path / "log", input=stream.bytes)
    assert "❌ could NOT kill agent (pid 123): it did not exit" in (tmp_path / "log").read_text()
    assert done.stderr.count(b"\n") == 1


def alerted(tmp_path, *on: str) -> str:
    """Return the file of alerts after a violation and a wait for the user."""
    file = AlertFile(tmp_path / "log")
    alerter = Alerter(file, {}, ("file",), False, ("retry",), on)
    stream = violated()
    for line in stream.bytes.splitlines():
        alerter.see(from_fields(json.loads(line)))
    for event in (
        make("history_end", stream.time, SESSION, {}),
        make("user_prompt", stream.time, SESSION, {"prompt": "go"}),
        make("waiting", stream.time, SESSION, {"for": "permission"}),
        tick(stream.time + 5, SESSION),
        tick(stream.time + 9, SESSION),
    ):
        alerter.see(event)
    return file.path.read_text() if file.path.exists() else ""


def test_what_is_reported_can_be_chosen(tmp_path):
    assert alerted(tmp_path / "1", "violation").count("RetryWatcher") == 1
    both = alerted(tmp_path / "2", "violation", "waiting")
    assert [both.count("RetryWatcher"), both.count("waits for your permission")] == [1, 1]
    waits = alerted(tmp_path / "3", "waiting")
    assert "⏳ the agent waits for your permission" in waits and "RetryWatcher" not in waits


def test_unknown_occasion_is_refused():
    done = run("trace-alert", "--on", "waiting,idle", input=violated().bytes)
    assert done.returncode == 2 and b"expected violation, waiting or both" in done.stderr


def test_alert_file(tmp_path):
    done = run("trace-alert", "--to", "file", input=violated(2).bytes, cwd=tmp_path)
    log = tmp_path / ".agent-traces" / "alerts.log"
    assert done.returncode == 0 and done.stderr == b""
    lines = log.read_text().splitlines()
    assert len(lines) == 2 and "RetryWatcher" in lines[0] and "+1:05" in lines[0]
    assert (
        stat.S_IMODE(log.stat().st_mode) == 0o600
        and stat.S_IMODE(log.parent.stat().st_mode) == 0o700
    )


def test_the_alert_file_lies_in_the_store_in_use(tmp_path):
    run(
        "trace-alert --to file",
        input=violated().bytes,
        cwd=tmp_path,
        env={"AGENT_TRACE_DIR": str(tmp_path / "store")},
    )
    assert (tmp_path / "store" / "alerts.log").exists()


def test_the_alert_file_is_no_way_through_a_symbolic_link(tmp_path):
    (tmp_path / "target").write_text("precious")
    (tmp_path / "alerts.log").symlink_to("target")
    done = run("trace-alert --to file --file", tmp_path / "alerts.log", input=violated().bytes)
    assert (tmp_path / "target").read_text() == "precious"
    assert b"cannot write to" in done.stderr and b"RetryWatcher" in done.stderr


def test_a_full_disk_for_the_alert_file_is_said_with_the_alert():
    done = run("trace-alert", "--to", "file", "--file", "/dev/full", input=violated(3).bytes)
    assert done.stderr.count(b"No space left on device") == 1 and b"RetryWatcher" in done.stderr
    assert done.stdout == violated(3).bytes and done.returncode == 2


def test_a_line_of_the_alert_file_has_local_time_agent_directory_and_session(tmp_path):
    stream = Stream()
    stream.add("session_start", {"agent": "claude", "cwd": "/srv/shop"})
    stream.spiral(3)
    stream.add(
        "violation",
        {"watcher": "retry", "level": "critical", "message": "failed 3 times"},
        id="v1",
    )
    stream.add("kill", {"pid": 7, "signal": "TERM", "outcome": "terminated"}, parent="v1")
    log = tmp_path / "log"
    done = run("trace-alert --to file --file", log, input=stream.bytes, env={"TZ": "UTC-2"})
    assert done.returncode == 0
    raised, killed = log.read_text().splitlines()
    assert raised.startswith("2026-11-22T16:54:4") and "+02:00 3f6e2c1a-9b7d" in raised
    assert raised.endswith("⚠️  RetryWatcher: failed 3 times (claude in /srv/shop, 3f6e2c1a)")
    assert "  killed claude (pid 7, SIGTERM) because: RetryWatcher: failed 3 times (" in killed


def test_with_several_sessions_each_alert_on_the_terminal_names_its_own():
    first, second = violated(), Stream(session="bbbb2222-other")
    second.add("session_start", {"agent": "codex", "cwd": "/srv/api"})
    second.add("violation", {"watcher": "loop", "level": "critical", "message": "looped"})
    lines = run("trace-alert", input=first.bytes + second.bytes).stderr.decode().splitlines()
    assert lines[-1].endswith("LoopWatcher: looped (codex in /srv/api, bbbb2222)")


def test_named_watchers_go_to_the_webhook_whatever_their_own_sinks_with_cause_and_host():
    stream = Stream()
    stream.add("session_start", {"agent": "claude", "cwd": "/srv/shop"})
    for number, watcher in enumerate(("retry", "cost")):
        stream.add(
            "violation",
            {"watcher": watcher, "level": "critical", "message": watcher, "actions": ["terminal"]},
            id=f"v{number}",
        )
        stream.add("kill", {"pid": 7, "outcome": "terminated"}, parent=f"v{number}")
    with server(with_status(200)) as (port, taken):
        assert webhook(port, stream, "--watcher", "cost").returncode == 0
    posted = [json.loads(body) for _, _, body in taken]
    assert [(each["event_type"], each["watcher"]) for each in posted] == [
        ("violation", "cost"),
        ("kill", "cost"),
    ]
    assert posted[1]["cause"] == "cost" and posted[1]["agent"] == "claude" and posted[1]["host"]


def test_parallel_writers_of_one_alert_file_tear_no_line(tmp_path):
    log = tmp_path / "alerts.log"
    stream = violated(200, watcher="x" * 3000)
    writers = [start("trace-alert", "--to", "file", "--file", log) for _ in range(4)]
    for writer in writers:
        threading.Thread(target=writer.communicate, args=(stream.bytes,)).start()
    for writer in writers:
        writer.wait(60)
    lines = [line for line in log.read_text().splitlines() if line.strip()]
    assert len(lines) == 800 and len({len(line) - line.index("+") for line in lines}) <= 4
    assert all(
        line.endswith("failed 3 times (session in /home/dev/proj, 3f6e2c1a)") for line in lines
    )


def test_only_the_sinks_that_a_violation_names_act(tmp_path):
    done = run(
        "trace-alert --to terminal --file", tmp_path / "log", input=violated(actions=["file"]).bytes
    )
    assert done.stderr == b"" and "RetryWatcher" in (tmp_path / "log").read_text()


def test_alert_webhook():
    with server(with_status(200)) as (port, taken):
        done = webhook(port, violated(), "--to", "webhook")
    assert done.returncode == 0 and done.stderr == b""
    (path, headers, body) = taken[0]
    sent = json.loads(body)
    assert path == "/services/SECRET?token=SECRET" and headers["Content-Type"] == "application/json"
    assert sent["text"] == '⚠️  RetryWatcher: "python -m pytest" failed 3 times'
    assert (
        sent["watcher"] == "retry"
        and sent["count"] == 3
        and sent["limit"] == 3
        and sent["session_id"]
    )


def test_the_text_cannot_address_a_channel():
    with server(with_status(200)) as (port, taken):
        webhook(port, violated(message="<!channel> & all"))
    assert "&lt;!channel&gt; &amp; all" in json.loads(taken[0][2])["text"]


def test_a_redirect_is_not_followed():
    with (
        server(with_status(200)) as (elsewhere, stolen),
        server(with_status(301, headers=[("Location", f"http://127.0.0.1:{elsewhere}/")])) as (
            port,
            taken,
        ),
    ):
        done = webhook(port, violated(), "--to", "webhook")
    assert len(taken) == 1 and stolen == []
    assert b"redirect" in done.stderr and done.returncode == 2


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_passing_failure_is_tried_again_and_a_lasting_one_three_times(status):
    with server(with_status(status, 200)) as (port, taken):
        assert webhook(port, violated(), "--to", "webhook").returncode == 0
        assert len(taken) == 2
    with server(with_status(status)) as (port, taken):
        done = webhook(port, violated(), "--to", "webhook")
        assert (
            len(taken) == 3 and done.returncode == 2 and f"status {status}".encode() in done.stderr
        )


def test_a_refusal_is_not_tried_again():
    with server(with_status(404)) as (port, taken):
        assert webhook(port, violated(), "--to", "webhook").returncode == 2
    assert len(taken) == 1


def test_retry_after_is_kept_to():
    moments = []

    def answer(handler, body):
        moments.append(time.monotonic())
        with_status(429 if len(moments) == 1 else 200, headers=[("Retry-After", "2")])(
            handler, body
        )

    with server(answer) as (port, _):
        assert webhook(port, violated(), "--to", "webhook").returncode == 0
    assert moments[1] - moments[0] >= 2


def test_a_server_that_drips_or_never_answers_is_given_up_in_time():
    released = threading.Event()

    def drip(handler, body):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not released.wait(0.3):
            handler.wfile.write(b"X-Drip: 1\r\n")
            handler.wfile.flush()

    for answer in (drip, lambda handler, body: released.wait(30)):
        with server(answer) as (port, _):
            began = time.monotonic()
            done = webhook(port, violated(), "--to", "webhook", "--drain", "1.5")
            assert time.monotonic() - began < 4
            assert done.returncode == 2 and b"did not accept 1 alert in time" in done.stderr
        released.set()
        released.clear()


def test_a_hanging_webhook_delays_no_event():
    hang = threading.Event()
    with server(lambda handler, body: hang.wait(30)) as (port, _taken):
        process = start(
            "trace-alert --to webhook --drain 0",
            env={"AGENT_PIPES_WEBHOOK": f"http://127.0.0.1:{port}/"},
        )
        began = time.monotonic()
        process.stdin.write(violated(50).bytes)
        process.stdin.close()
        assert len(events_of(process.stdout.read())) == 51
        assert process.wait(20) == 2 and time.monotonic() - began < 5
        hang.set()


def test_a_flood_is_bounded_and_what_was_dropped_is_said():
    with server(with_status(200)) as (port, taken):
        done = webhook(port, violated(10_000), "--to", "webhook", "--drain", "20")
    assert 1 <= len(taken) < 10_000
    dropped = int(done.stderr.decode().partition("was too slow: ")[2].split()[0])
    assert dropped + len(taken) == 10_000 and done.returncode == 2


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.invalid/SECRET",
        "ftp://example.invalid/SECRET",
        "hooks.example.invalid/SECRET",
        "https://user:SECRET@example.invalid/",
        "https://exa mple/SECRET",
        "https://example.invalid/\nSECRET",
        "file:///SECRET",
        "https://[SECRET",
        "   ",
    ],
)
def test_a_url_that_cannot_be_used_stops_the_start_and_is_not_said(url):
    done = run("trace-alert", "--to", "webhook", "--webhook", url, input=violated().bytes)
    assert done.returncode == 2 and done.stdout == b""
    assert b"SECRET" not in done.stderr and b"webhook" in done.stderr


def test_no_failure_says_the_url():
    for port, path in ((1, "/SECRET"), (0, "/SECRET")):
        done = run(
            "trace-alert --to webhook --drain 5 --webhook",
            f"http://127.0.0.1:{port}{path}",
            input=violated().bytes,
        )
        assert b"SECRET" not in done.stderr + done.stdout.replace(violated().bytes, b"")
        assert done.returncode == 2
    done = run(
        "trace-alert --webhook https://name.invalid/SECRET --to webhook --drain 8",
        input=violated().bytes,
    )
    assert b"SECRET" not in done.stderr and done.returncode == 2


def test_a_webhook_without_a_url_stops_the_start():
    done = run("trace-alert", "--to", "webhook", input=violated().bytes)
    assert done.returncode == 2 and b"AGENT_PIPES_WEBHOOK" in done.stderr and done.stdout == b""


def test_a_violation_bound_to_a_webhook_that_is_not_there_is_not_lost_in_silence():
    done = run("trace-alert", input=violated(actions=["webhook"]).bytes)
    assert b"none is configured" in done.stderr and done.returncode == 2
    assert os.path.basename("trace-alert").encode() in done.stderr
