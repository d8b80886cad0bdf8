"""trace-status: a live line on stderr, and nothing else touched."""

from tests.helpers.support import ENVIRONMENT, FIXTURES, Stream, command, run, start
from tests.helpers.terminal import shown_on_terminal


def lines(*args: object, stream: Stream) -> list[str]:
    done = run("trace-status", *args, input=stream.bytes)
    assert done.stdout == stream.bytes and done.returncode == 0
    return done.stderr.decode().splitlines()


def test_a_line_at_the_end_says_time_events_dollars_and_retries():
    stream = Stream()
    stream.add("session_start", {"cwd": "/"})
    stream.add(
        "llm_response",
        {
            "model": "m",
            "cost": {"usd": 0.12, "session_usd": 0.12, "estimated": False, "unpriced": False},
        },
    )
    stream.spiral(2)
    assert lines(stream=stream) == [
        f"trace-status: Monitoring session {stream.session[:8]}... an agent in /",
        "trace-status: +0:05  ✅ 6 events, $0.12, 2 retries",
    ]


def test_a_stand_in_for_a_commands_session_is_not_announced():
    stream = Stream(session="command-4711")
    stream.add("session_start", {"cwd": "/"})
    stream.add("process", {"pid": 4711, "started": "1", "how": "child"})
    stream.add("tick", {})
    assert [line for line in lines(stream=stream) if "Monitoring" in line] == []


def test_a_success_or_a_prompt_starts_the_retries_over_and_a_rejection_is_none():
    for last in (lambda s: s.bash("ls"), lambda s: s.add("user_prompt", {"prompt": "go on"})):
        stream = Stream().spiral(3)
        last(stream)
        stream.call("Bash", {"command": "x"}, "no", failed=True, reason="rejected")
        assert lines(stream=stream)[-1].endswith(", 0 retries")
    assert lines(stream=Stream().spiral(1))[-1].endswith("2 events, $0.00, 1 retry")


def test_what_is_estimated_or_unpriced_says_so():
    stream = Stream()
    stream.add("llm_response", {"cost": {"session_usd": 1.5, "estimated": True, "unpriced": True}})
    assert lines(stream=stream)[-1].endswith("1 event, ~$1.50 + unpriced, 0 retries")


def test_a_wrong_type_in_a_cost_is_nothing():
    stream = Stream()
    stream.add("llm_response", {"cost": {"session_usd": "a lot", "estimated": 1}})
    stream.add("llm_response", {"cost": [1]})
    assert lines(stream=stream)[-1].endswith("2 events, $0.00, 0 retries")


def test_lines_come_while_the_session_is_silent():
    process = start("trace-status", "--every", "1s")
    process.stdin.write(Stream().bash("ls").bytes)
    process.stdin.flush()
    assert b"Monitoring" in process.stderr.readline()
    first = process.stderr.readline().decode()
    assert "2 events" in first
    process.stdin.close()
    assert process.wait(20) == 0


def test_on_a_terminal_one_line_is_rewritten_and_ended():
    spiral = (FIXTURES / "spiral.ndjson").read_bytes()
    sent = shown_on_terminal(
        command("trace-status"), ENVIRONMENT, input=spiral, streams=("stderr",)
    )
    assert sent.count(b"\n") == 2 and b"\r" in sent and sent.endswith(b"\x1b[K\r\n")
