"""Bad input stops no breaker; bad options or settings stop it before it starts."""

import json
import os
import re
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.support import (
    ENVIRONMENT,
    FIXTURES,
    ROOT,
    SCRIPTS,
    START,
    Stream,
    command,
    events_of,
    run,
    violations,
)


@pytest.fixture(autouse=True)
def _directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def event(**fields: object) -> dict:
    return {
        "event_type": "tool_call",
        "timestamp": START,
        "session_id": "s",
        "data": {"tool_name": "Bash", "arguments": {"command": "ls"}},
    } | fields


def line(**fields: object) -> bytes:
    return json.dumps(event(**fields)).encode() + b"\n"


GOOD = Stream().spiral(6).bytes
"""A streak of failures that a limit of 5 raises, with any other line inside it."""

WITHIN = GOOD.splitlines(keepends=True)


def judged(
    bad: bytes, name: str = "trace-detect-retry", *args: object
) -> subprocess.CompletedProcess:
    """Run a filter over the streak with `bad` inside: it raises, and `bad` passes."""
    done = run(name, *args, input=b"".join(WITHIN[:5]) + bad + b"".join(WITHIN[5:]))
    assert b"Traceback" not in done.stderr and b"internal error" not in done.stderr, done.stderr
    assert bad in done.stdout
    assert [found["watcher"] for found in violations_of(done.stdout)] == ["retry"], done.stderr
    return done


def violations_of(output: bytes) -> list[dict]:
    return [
        json.loads(each)["data"]
        for each in output.splitlines()
        if b'"event_type":"violation"' in each
    ]


# Lines that are no event: said with their number, passed on, remembered in the exit status.

UNREADABLE = {
    "truncated": b'{"event_type":"tool_call","timestamp":179\n',
    "utf-16": '{"event_type":"tool_call"}\n'.encode("utf-16-le").replace(b"\n\0", b"\n"),
    "a number of five thousand digits in place of an object": b"1" * 5000 + b"\n",
    "nested 100,000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n",
    "an unclosed array 100,000 deep": b"[" * 100_000 + b"\n",
    "null": b"null\n",
    "a string": b'"tool_call"\n',
    "an array": b'[{"event_type":"tool_call"}]\n',
    "true": b"true\n",
    "gzip": b"\x1f\x8b" + zlib.compress(b"x" * 100).replace(b"\n", b"").replace(b"\r", b"") + b"\n",
    "two objects, the second one torn": line()[:-1] + b'{"event_type":"tool_ca\n',
}


@pytest.mark.parametrize("bad", UNREADABLE.values(), ids=UNREADABLE)
def test_a_line_that_is_no_event_is_said_and_passed_on(bad):
    done = judged(bad)
    assert b"standard input:6:" in done.stderr and done.returncode == 2


# Lines that are read all the same, as real writers write them.

READABLE = {
    "an empty line": b"\n",
    "spaces": b"   \t\n",
    "a carriage return": line()[:-1] + b"\r\n",
    "a byte-order mark": b"\xef\xbb\xbf" + line(),
    "NULs where a sparse file has a hole": b"\0" * 5000 + line(),
    "invalid UTF-8 in a string": line(event_id="EVIL").replace(b"EVIL", b"\xff\xfe\x80"),
    "a lone surrogate": line(event_id="EVIL").replace(b"EVIL", b"\\ud83d"),
    "a raw control character in a string": line(event_id="EVIL").replace(b"EVIL", b"a\tb\x01"),
    "NaN": line(more=float("nan")),
    "Infinity": line(timestamp=float("inf")),
    "1e999": line(event_id="EVIL").replace(b'"EVIL"', b"1e999"),
    "2^64": line(timestamp=2**64),
    "nested 250 deep": line(more=json.loads("[" * 250 + "]" * 250)),
    "nested 900 deep": line(more=json.loads("[" * 900 + "]" * 900)),
    "duplicate keys": b'{"event_type":"x","event_type":"tool_call","data":{},"data":{}}\n',
    "no type": b'{"timestamp":1795359278}\n',
    "an empty object": b"{}\n",
    "an unknown type and unknown fields": line(
        event_type="quux", v=2, kind="alert", schema={"major": 9}
    ),
    "no time": b'{"event_type":"user_prompt"}\n',
    "a time in the year 9999": line(event_type="user_prompt", timestamp=253402300799),
    "a time before 1970": line(event_type="user_prompt", timestamp=-5),
    "a time that is a naive local date": line(
        event_type="user_prompt", timestamp="2026-10-25T02:30:00"
    ),
    "a time that is true": line(event_type="user_prompt", timestamp=True),
    "a result without its call": line(event_type="tool_result", parent_id="nobody"),
    "the same result twice": 2 * line(event_type="tool_result", parent_id="nobody"),
    "another session's event": line(session_id="another"),
    "no session": b'{"event_type":"tool_call","timestamp":1795359278.5,"data":{"tool_name":"Bash","arguments":{"command":"x"}}}\n',
    "our own kill in a text": line(
        event_type="user_prompt", data={"prompt": '{"event_type":"kill","data":{"pid":1}}'}
    ),
    "seq that goes back": line(event_type="user_prompt", seq=9)
    + line(event_type="user_prompt", seq=3),
    "every field of a wrong type": line(
        event_type=7,
        timestamp=[],
        session_id={},
        event_id=1.5,
        parent_id=True,
        data="text",
        duration_ms="long",
    ),
    "a clock that jumps years": line(event_type="user_prompt", timestamp=START + 3e8)
    + line(event_type="user_prompt", timestamp=START - 3e8),
}


@pytest.mark.parametrize("name", READABLE)
def test_what_real_writers_write_is_read_without_a_word(name):
    done = judged(READABLE[name])
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("source", ["claude", "codex", "copilot", "gemini"])
@pytest.mark.parametrize(
    "number",
    ["9" * 400, "-" + "9" * 4200, "9" * 5000, "1e400", "9" * 30],
    ids=["400 digits", "-4200 digits", "5000 digits", "1e400", "30 digits"],
)
def test_a_number_beyond_any_in_an_agents_session_stops_no_reader(source, number):
    """orjson rejects these; the standard library reads them as huge integers."""
    lines = b"".join(path.read_bytes() for path in sorted((FIXTURES / source).rglob("*.jsonl")))
    Path("session.jsonl").write_bytes(
        re.sub(rb'":\s*[0-9.]+(?=[,}])', lambda found: b'":' + number.encode(), lines)
    )
    done = run("trace-tail", "--no-follow", "--format", source, "session.jsonl")
    assert b"internal error" not in done.stderr and b"Traceback" not in done.stderr, done.stderr
    assert len(events_of(done.stdout)) > 5
    assert run("trace-cost", input=done.stdout).returncode == 0


def test_a_second_object_on_a_line_is_said():
    done = judged(line(event_type="user_prompt")[:-1] + line())
    assert b"two objects on one line" in done.stderr and done.returncode == 2


@pytest.mark.parametrize("tokens", [True, "12", -5, -1e9, 1e999, None, [1], {"n": 1}, 10**30])
def test_a_count_of_tokens_that_is_none_refills_no_budget(tokens):
    stream = Stream()
    usage = {"input_tokens": 1_000_000, "output_tokens": 1_000_000}
    for number in range(2):
        stream.add(
            "llm_response",
            {"model": "claude-opus-4-6", "response_id": f"r{number}", "usage": usage},
        )
    whole = run("trace-cost", input=stream.bytes)
    stream.add(
        "llm_response",
        {
            "model": "claude-opus-4-6",
            "response_id": "odd",
            "usage": {"input_tokens": tokens, "output_tokens": 0},
        },
    )
    done = run("trace-cost", input=stream.bytes.replace(b"Infinity", b"1e999"))
    assert b"Traceback" not in done.stderr and b"internal error" not in done.stderr
    spent = [
        found["data"]["cost"]["session_usd"]
        for found in events_of(done.stdout, "llm_response")
        if found["data"].get("cost")
    ]
    before = events_of(whole.stdout, "llm_response")[-1]["data"]["cost"]["session_usd"]
    assert all(usd >= before for usd in spent[1:]) and before > 0
    assert b'"violation"' in run("trace-detect-cost", "--max", "10", input=stream.bytes).stdout


def test_events_after_the_end_of_a_session_are_a_session_again():
    stream = Stream().spiral(6)
    stream.add("session_end", {})
    again = stream.spiral(6).bytes
    assert len(violations(run("trace-detect-retry", input=again).stdout)) == 2


@pytest.mark.parametrize("version", [2, "2.0.0", {"major": 9}, None, -1])
def test_a_version_that_is_not_ours_is_read_as_far_as_it_is_known(version):
    """New types and fields pass through; there is no version number that could stop a breaker."""
    later = b"".join(
        json.dumps(json.loads(each) | {"v": version, "schema_version": version}).encode() + b"\n"
        for each in WITHIN
    )
    done = run("trace-detect-retry", "--max", "3", input=later)
    assert (done.returncode, done.stderr) == (0, b"") and len(violations(done.stdout)) == 1
    assert [
        each for each in done.stdout.splitlines(keepends=True) if b'"violation"' not in each
    ] == later.splitlines(keepends=True)


@pytest.mark.parametrize(
    "numbers",
    [(1, 2, 9, 10), (5, 5, 5, 5), (9, 3, 1, 0), ("a", None, -1, 1e99)],
    ids=["gap", "repeated", "backwards", "none"],
)
def test_sequence_numbers_of_others_change_nothing(numbers):
    """Agents' sessions have no hashes; a store's show lines that are lost or written twice."""
    events = [json.loads(each) for each in WITHIN]
    counted = b"".join(
        json.dumps(each | {"seq": numbers[at % 4]}).encode() + b"\n"
        for at, each in enumerate(events)
    )
    done = run("trace-detect-retry", "--max", "3", input=counted)
    assert (done.returncode, done.stderr) == (0, b"") and len(violations(done.stdout)) == 1


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+$", "**/" * 40 + "x", "*a" * 60, "[a-z]*" * 50, "{a,aa}" * 30],
    ids=["nested", "**", "*", "classes", "braces"],
)
def test_a_pattern_that_would_take_a_matcher_for_ever_takes_this_one_no_time(pattern):
    rules = {
        "files": {"write": {"deny": [pattern, "deploy/**"]}},
        "commands": {"deny": [pattern + " b"]},
    }
    Path("policy.json").write_text(json.dumps(rules))
    stream = Stream()
    stream.call("Write", {"file_path": "a" * 200 + "!"}).call(
        "Write", {"file_path": "/".join("a" * 80)}
    ).bash("a" * 2000 + " c").call("Write", {"file_path": "deploy/x"})
    done = subprocess.run(
        command("trace-detect-scope", "--policy", "policy.json"),
        input=stream.bytes,
        capture_output=True,
        env=ENVIRONMENT,
        timeout=20,
    )
    assert done.returncode == 0 and "deploy/x" in [
        found["target"] for found in violations(done.stdout)
    ], done.stderr


def test_each_session_has_a_state_of_its_own():
    half = [Stream(session=name).spiral(3).bytes for name in ("one", "two")]
    assert not violations(run("trace-detect-retry", input=b"".join(half)).stdout)


# Files that are none.


@pytest.mark.parametrize(
    "command_line",
    [("trace-tail", "--no-follow"), ("agent-strace", "watch", "--no-follow")],
    ids=["tail", "watch"],
)
@pytest.mark.parametrize(
    "what", ["directory", "fifo", "device", "gzip", "zstd", "elf", "utf16", "socket", "missing"]
)
def test_what_is_no_session_is_refused_by_name(command_line, what):
    path = Path(what)
    if what == "directory":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "device":
        path = Path("/dev/zero")
    elif what == "socket":
        socket.socket(socket.AF_UNIX).bind(what)
    elif what != "missing":
        magic = {
            "gzip": b"\x1f\x8b\x08",
            "zstd": b"\x28\xb5\x2f\xfd",
            "elf": b"\x7fELF",
            "utf16": b"\xff\xfe{\0",
        }
        path.write_bytes(magic[what] + b"\0\n" * 100)
    done = subprocess.run(
        command(*command_line, path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=ENVIRONMENT,
        timeout=20,
    )
    assert done.returncode == 2 and str(path).encode() in done.stderr, done.stderr
    assert b"Traceback" not in done.stderr and b"internal error" not in done.stderr


# Orders: an option, a policy.


@pytest.mark.parametrize("pid", ["0", "-1", "1", "text", "", "1.5", "99999999999999999999"])
@pytest.mark.parametrize("name", ["trace-kill", "trace-tail"])
def test_a_number_that_is_no_agents_stops_the_start(name, pid):
    done = run(
        name, f"--pid={pid}", *([FIXTURES / "spiral.ndjson"] if name == "trace-tail" else [])
    )
    assert done.returncode == 2 and done.stdout == b"" and b"pid" in done.stderr.lower()


POLICIES = {
    "empty": (b"", "nothing to enforce"),
    "an array": (b"[]", "object"),
    "an unknown key": (b'{"fils": {}}', "did you mean 'files'"),
    "an unknown key below": (b'{"files": {"write": {"denny": ["x"]}}}', "did you mean 'deny'"),
    "a key twice": (b'{"files": {}, "files": {}}', "twice"),
    "a pattern that is a number": (b'{"files": {"write": {"deny": [7]}}}', "files.write.deny"),
    "nested 100,000 deep": (b'{"files":' * 100_000, "policy.json"),
    "not UTF-8": (b"\xff\xfe{\0", "UTF-8"),
    "nothing to enforce": (b"{}", "policy.json"),
}


@pytest.mark.parametrize("content, said", POLICIES.values(), ids=POLICIES)
def test_a_policy_that_means_nothing_stops_the_start(content, said):
    Path("policy.json").write_bytes(content)
    done = run("trace-detect-scope", "--policy", "policy.json", input=GOOD)
    assert done.returncode == 2 and done.stdout == b"", done.stderr
    assert (
        said in done.stderr.decode()
        and b"policy.json" in done.stderr
        and b"Traceback" not in done.stderr
    )


def test_a_policy_of_ten_thousand_patterns_is_kept_to_in_time():
    patterns = [f"**/deny{number}/*{'*?' * 5}.py" for number in range(10_000)]
    Path("policy.json").write_text(
        json.dumps({"files": {"write": {"deny": [*patterns, "deploy/**"]}}})
    )
    stream = Stream()
    stream.call("Write", {"file_path": "a/" * 200 + "x.py"}).call(
        "Write", {"file_path": "deploy/x"}
    )
    done = run("trace-detect-scope", "--policy", "policy.json", input=stream.bytes)
    assert len(violations(done.stdout)) == 1 and done.returncode == 0


@pytest.mark.parametrize(
    "url",
    [
        "https://u:SECRET@example.invalid/",
        "file:///SECRET",
        "hooks.example/SECRET",
        "https://example.invalid/SECRET\nx",
        "",
    ],
)
def test_a_url_that_is_none_stops_the_start_and_is_not_echoed(url):
    done = run("trace-alert", "--to", "webhook", input=GOOD, env={"AGENT_PIPES_WEBHOOK": url})
    assert done.returncode == 2 and done.stdout == b"" and b"SECRET" not in done.stderr


# Surroundings.


def test_the_surroundings_do_not_matter():
    bare = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    data = GOOD + '{"event_type":"user_prompt","data":{"prompt":"größer"}}\n'.encode()
    done = subprocess.run(
        command("trace-detect-retry"), input=data, capture_output=True, env=bare, timeout=20
    )
    assert data.splitlines()[-1] in done.stdout and len(violations(done.stdout)) == 1
    assert (
        subprocess.run(command("trace-list"), capture_output=True, env=bare, timeout=20).returncode
        == 0
    )


def test_a_directory_that_is_gone_stops_no_filter():
    done = subprocess.run(
        [
            "sh",
            "-c",
            'mkdir gone; cd gone; rmdir ../gone; exec "$@"',
            "sh",
            *command("trace-detect-retry"),
        ],
        input=GOOD,
        capture_output=True,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0 and len(violations(done.stdout)) == 1, done.stderr


def test_the_umask_opens_no_alert_file():
    stream = Stream()
    stream.add("violation", {"watcher": "retry", "message": "m"})
    subprocess.run(
        ["sh", "-c", 'umask 000; exec "$@"', "sh", *command("trace-alert", "--to", "file")],
        input=stream.bytes,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    assert (
        os.stat(".agent-traces/alerts.log").st_mode & 0o777 == 0o600
        and os.stat(".agent-traces").st_mode & 0o777 == 0o700
    )


# Bombs: bounded in memory.

BOUND = 1 << 30
"""Address space of a filter in bytes: without bounds it would take far more."""


def bounded(name: str, *args: object, chunks: Iterator[bytes]) -> tuple[int, bytes, bytes, int]:
    """Run a filter with little memory; return status, violations, stderr and peak in bytes."""
    code = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({BOUND}, {BOUND}))
sys.argv = {[name, *map(str, args)]!r}
sys.path.insert(0, {str(ROOT)!r})
import importlib
from agent_pipes.core.filter import Filter
module = importlib.import_module({SCRIPTS[name].split(":")[0]!r})
try:
    next(each for each in vars(module).values() if isinstance(each, Filter) and each.name == {name!r}).main()
finally:
    # ru_maxrss would contain the peak of the process that forked this one.
    status = open("/proc/self/status").read()
    print("peak", int(status.partition("VmHWM:")[2].split()[0]) * 1024, file=sys.stderr)
"""
    with open("out", "wb") as out, open("err", "wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            env=ENVIRONMENT,
        )
        for chunk in chunks:
            process.stdin.write(chunk)
        process.stdin.close()
        status = process.wait(100 + MANY // 1000)
    said = Path("err").read_bytes()
    with open("out", "rb") as out:
        raised = b"".join(each for each in out if b'"event_type":"violation"' in each)
    return status, raised, said, int(said.rsplit(b"peak ", 1)[1])


MANY = int(os.environ.get("AGENT_PIPES_MANY", "30000"))
"""Number of each unbounded thing; 1000000 takes minutes."""


def many(make) -> Iterator[bytes]:
    for at in range(0, MANY, 1000):
        yield b"".join(make(number) for number in range(at, min(at + 1000, MANY)))


CALL = '{"event_type":"tool_call","timestamp":1795359279.5,"session_id":"%s","event_id":"c%d","data":{"tool_name":"Bash","arguments":{"command":"%s"}}}\n'
FAILURE = '{"event_type":"error","timestamp":1795359279.5,"session_id":"%s","parent_id":"c%d","data":{"tool_name":"Bash","error":"%s","reason":"exit","exit_code":1}}\n'


@pytest.mark.parametrize("name", ["trace-detect-retry", "trace-detect-loop", "trace-detect-cost"])
def test_very_many_sessions_take_bounded_memory_and_it_is_said_once(name):
    status, _, said, peak = bounded(
        name, chunks=many(lambda number: (CALL % (f"session-{number}", number, "ls")).encode())
    )
    assert status == 0 and said.count(b"the least recently active are forgotten") == 1
    assert peak < 300 << 20


@pytest.mark.parametrize("name", ["trace-detect-retry", "trace-detect-loop"])
def test_very_many_distinct_commands_take_bounded_memory(name):
    pair = lambda number: (
        CALL % ("s", number, f"make target{number}") + FAILURE % ("s", number, f"boom {number}")
    ).encode()
    status, _, _, peak = bounded(name, chunks=many(pair))
    assert status == 0 and peak < 200 << 20


def test_very_many_agents_of_one_session_take_bounded_memory():
    call = lambda number: (
        (CALL % ("s", number, "ls"))
        .replace('"tool_name"', f'"agent_id":"a{number}","tool_name"')
        .encode()
    )
    status, _, _, peak = bounded("trace-detect-retry", chunks=many(call))
    assert status == 0 and peak < 200 << 20


@pytest.mark.parametrize(
    "content",
    [b'{"%s":1}\n', b'{"event_type":"tool_call","data":{"%s":1}}\n', b'{"event_type":"%s"}\n'],
    ids=["key", "key-in-data", "type"],
)
def test_a_key_of_50_megabytes_is_one_line_like_others(content):
    bomb = content % (b"k" * (50 << 20))
    status, raised, _, _ = bounded(
        "trace-detect-retry", chunks=iter([b"".join(WITHIN[:5]), bomb, b"".join(WITHIN[5:])])
    )
    assert status == 0 and len(violations(raised)) == 1


def test_a_line_longer_than_any_is_passed_on_in_parts_and_said():
    bomb = b'{"event_type":"' + b"k" * (80 << 20) + b'"}\n'
    status, raised, said, _ = bounded(
        "trace-detect-retry", chunks=iter([b"".join(WITHIN[:5]), bomb, b"".join(WITHIN[5:])])
    )
    assert status == 2 and len(violations(raised)) == 1 and b"longer than" in said
    assert Path("out").stat().st_size > len(bomb) + len(GOOD)


@pytest.mark.parametrize("digits", [5_000, 1_000_000])
@pytest.mark.parametrize("field", ["timestamp", "exit_code", "input_tokens"])
def test_a_number_of_a_million_digits_stops_nothing(field, digits):
    bomb = (
        b'{"event_type":"llm_response","session_id":"s","data":{"usage":{}},"FIELD":1}\n'.replace(
            b"FIELD", field.encode()
        ).replace(b":1}", b":" + b"9" * digits + b"}")
    )
    done = judged(bomb)
    assert (done.returncode, done.stderr) == (0, b"")
    # Which adds its one key, and leaves the number as it is.
    costed = run("trace-cost", input=bomb)
    assert (
        costed.returncode == 0
        and b":" + b"9" * digits + b"}" in costed.stdout
        and b'"cost":' in costed.stdout
    )
