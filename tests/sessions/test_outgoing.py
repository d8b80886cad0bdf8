"""Events as a host sends them: they name it, and their calls fit a message of a broker."""

import json
import os
import pwd

import pytest

from agent_pipes.core.event import Event, from_fields
from agent_pipes.core.jsonl import parse_line
from agent_pipes.detect.calls import Call
from agent_pipes.scope.tool_access import accesses_of
from agent_pipes.sessions.outgoing import add_origin, changed, cut_arguments
from tests.helpers.support import FIXTURES, Stream, events_of, run, violations


def call(arguments: object, tool: str = "Write") -> Event:
    data = {"tool_name": tool, "arguments": arguments}
    return from_fields(
        {"event_type": "tool_call", "timestamp": 1.8e9, "session_id": "s", "data": data}
    )


def test_every_event_names_its_host_and_user():
    done = run("trace-tail --no-follow --host-name ha spiral.ndjson", cwd=FIXTURES).stdout
    me = pwd.getpwuid(os.getuid()).pw_name
    events = events_of(done)
    assert events and all((each["host"], each["user"]) == ("ha", me) for each in events)
    plain = events_of(run("trace-tail", "--no-follow", "spiral.ndjson", cwd=FIXTURES).stdout)
    added = {"host", "user"}
    assert [{key: each[key] for key in each if key not in added} for each in events] == plain


def test_add_host_takes_the_name_of_this_host():
    done = run("trace-tail", "--no-follow", "--add-host", "spiral.ndjson", cwd=FIXTURES)
    assert {each["host"] for each in events_of(done.stdout)} == {os.uname().nodename}


@pytest.mark.parametrize(
    "line",
    [
        b'{"event_type":"user_prompt","host":"forged","user":"root","data":{}}\n',
        b'{"event_type":"user_prompt","host":7,"data":{}}\n',
        b'{"event_type":"user_prompt","data":{"host":"kept"},"user":null}\n',
        b'  {"event_type":"user_prompt","data":{}}\n',
        b'{"event_type":"user_prompt","data":{"n":123456789012345678901234567890}}\n',
    ],
)
def test_a_name_that_an_event_has_already_is_replaced(line):
    event = add_origin("ha", "me")(Event(line, parse_line(line)))
    found = json.loads(event.raw)
    assert (event.host, event.user) == (found["host"], found["user"]) == ("ha", "me")
    assert found["data"] == json.loads(line)["data"] or "n" in found["data"]
    assert event.raw.count(b'"host":"ha"') == 1 and event.raw.endswith(b"}\n")


def test_lines_that_are_no_events_and_ticks_stay_as_they_are():
    lines = [Event(b"no event\n", {}), Event(b"", {"event_type": "tick", "timestamp": 1.8e9})]
    assert [each.raw for each in changed(lines, [add_origin("ha", "me")])] == [b"no event\n", b""]


def test_violations_name_the_host_of_their_session_those_about_time_too():
    stream = Stream().spiral(4)
    stream.add("user_prompt", {"prompt": "go on"}, after=7200)
    for each in stream.events[:-1]:
        each |= {"host": "ha", "user": "me"}
    for name, options in (("retry", ["--max", "3"]), ("duration", ["--max", "5m"])):
        found = events_of(run(f"trace-detect-{name}", *options, input=stream.bytes).stdout)
        raised = [each for each in found if each["event_type"] == "violation"]
        assert [(each["host"], each["user"]) for each in raised] == [("ha", "me")] * len(raised)
        assert raised, name


def test_arguments_that_fit_stay_byte_for_byte():
    event = call({"file_path": "/x", "content": "a" * 100})
    assert cut_arguments(200)(event) is event


@pytest.mark.parametrize("limit", [64, 1000, 65536])
@pytest.mark.parametrize(
    "arguments",
    [
        {"file_path": "/x/a.py", "content": "ä" * 2_000_000},
        {"file_path": "/x/a.py", "edits": [{"new_string": "b" * 50_000}] * 40},
        {"file_path": "/x/a.py", "numbers": list(range(300_000))},
        "x" * 300_000,
    ],
    ids=["one text", "many texts", "numbers", "a text alone"],
)
def test_arguments_are_cut_to_the_limit_and_their_size_and_digest_are_of_the_whole(
    arguments, limit
):
    event, same = call(arguments), call(arguments)
    found = cut_arguments(limit)(event)
    whole = json.dumps(arguments, separators=(",", ":"), ensure_ascii=False).encode()
    assert len(json.dumps(found.data["arguments"], ensure_ascii=False, separators=(",", ":"))) <= (
        limit
    )
    assert found.data["arguments_bytes"] == len(whole)
    assert found.data["arguments_digest"] == cut_arguments(limit)(same).data["arguments_digest"]
    assert len(found.raw) < limit + 500 and parse_line(found.raw)["data"] == found.data


def test_a_cut_call_keeps_its_short_arguments():
    found = cut_arguments(1000)(call({"file_path": "/x/a.py", "content": "a" * 5000})).data
    assert found["arguments"]["file_path"] == "/x/a.py" and found["arguments_cut"] == ["content"]
    assert found["arguments"]["content"] == "a" * len(found["arguments"]["content"])


def test_calls_that_differ_beyond_the_cut_are_different_calls():
    calls = [
        Call(cut_arguments(1000)(call({"file_path": "/x", "content": "a" * 5000 + end})))
        for end in ("b", "c", "b")
    ]
    assert calls[0].key == calls[2].key != calls[1].key


def test_scope_does_not_take_the_head_of_a_command_for_the_command():
    shell = {"command": "echo " + "a" * 5000 + "; rm -rf /"}
    gaps = accesses_of(cut_arguments(1000)(call(shell, "Bash"))).unjudged
    assert [gap.kind for gap in gaps] == ["long"]
    written = {"file_path": "/x", "content": "a" * 5000}
    assert accesses_of(cut_arguments(1000)(call(written))).unjudged == []
    forged = call({"file_path": "/x"})
    forged.data["arguments_cut"] = [{}, 7]
    assert accesses_of(forged).unjudged


def test_trace_tail_cuts():
    done = run("trace-tail", "--no-follow", "--max-argument", "20", "spiral.ndjson", cwd=FIXTURES)
    cut = [each["data"] for each in events_of(done.stdout, "tool_call")]
    assert {len(json.dumps(each["arguments"])) <= 24 for each in cut} == {True}
    assert any("arguments_bytes" in each for each in cut)


def test_with_violations_only_little_goes_downstream():
    data = (FIXTURES / "spiral.ndjson").read_bytes()
    stream = Stream()
    stream.add("history_start")
    stream.add("process", {"pid": 5})
    stream.add("history_end")
    whole = run("trace-detect-retry", "--max", "3", input=data + stream.bytes)
    done = run("trace-detect-retry", "--max", "3", "--violations-only", input=data + stream.bytes)
    assert done.returncode == 0 and violations(done.stdout) == violations(whole.stdout) != []
    types = [each["event_type"] for each in events_of(done.stdout)]
    assert types == [
        "session_start",
        "violation",
        "session_end",
        "history_start",
        "process",
        "history_end",
    ]
    kept = [line for line in whole.stdout.splitlines() if line in done.stdout.splitlines()]
    assert kept == done.stdout.splitlines()


def test_with_violations_only_the_exit_status_is_the_same():
    data = (FIXTURES / "spiral.ndjson").read_bytes()
    assert run("trace-detect-retry", "-e", "--violations-only", input=data).returncode == 1
