"""Sameness, subject and name of calls, and pairing of results with them."""

import pytest

from agent_pipes.core.event import from_fields
from agent_pipes.detect.calls import Call


def call(tool: object = "Bash", arguments: object = None, id: str = "c1", **data: object) -> Call:
    return Call(called(tool, arguments, id, **data))


def called(tool: object = "Bash", arguments: object = None, id: str = "c1", **data: object):
    return from_fields(
        {
            "event_type": "tool_call",
            "timestamp": 1795359278.0,
            "event_id": id,
            "data": {"tool_name": tool, "arguments": arguments, **data},
        }
    )


def bash(command: object, **more: object) -> Call:
    return call("Bash", {"command": command, **more})


SAME_CALL = [
    (call("t", {"a": 1, "b": [1, 2]}), call("t", {"b": [1, 2], "a": 1})),
    (bash("ls", description="List the files"), bash("ls", description="Look around", timeout=5000)),
    (
        call("exec_command", {"cmd": "ls", "yield_time_ms": 5}),
        call("exec_command", {"cmd": "ls", "max_output_tokens": 9, "justification": "x"}),
    ),
    (
        call("read_file", {"path": "a", "task_progress": "- [ ] 1"}),
        call("read_file", {"path": "a", "task_progress": "- [x] 1"}),
    ),
    (call("t", '{"a": 1, "b": 2}'), call("t", {"b": 2, "a": 1})),
    (call("t", None), call("t", {})),
]

OTHER_CALL = [
    (call("a", {}), call("b", {})),
    (bash("ls"), bash("ls -l")),
    (call("t", {"a": 1}), call("t", {"a": "1"})),
    (
        call("Read", {"file_path": "a", "offset": 1}),
        call("Read", {"file_path": "a", "offset": 2001}),
    ),
    (
        call("execute_command", {"command": "ls", "cwd": "/home/user"}),
        call("execute_command", {"command": "ls", "cwd": "/home/admin"}),
    ),
    (
        call("create_issue", {"title": "x", "description": "one"}),
        call("create_issue", {"title": "x", "description": "two"}),
    ),
    (call("t", "one"), call("t", "two")),
]


@pytest.mark.parametrize("one, other", SAME_CALL)
def test_bookkeeping_and_the_order_of_keys_make_no_other_call(one, other):
    assert one.key == other.key


@pytest.mark.parametrize("one, other", OTHER_CALL)
def test_what_says_something_makes_another_call(one, other):
    assert one.key != other.key


PATCH = "*** Begin Patch\n*** Update File: a.py\n@@\n-{0}\n+{1}\n*** End Patch"

SAME_TARGET = [
    (bash("python -m pytest"), bash("cd /home/dev/proj && python -m pytest 2>&1 | tail -20")),
    (bash("npm  test"), bash("CI=1 npm test")),
    (bash("time make check"), bash("make check")),
    (
        call("shell", {"command": ["bash", "-lc", "npm test"]}),
        call("shell", {"command": "npm test"}),
    ),
    (
        call("Edit", {"file_path": "/p/a.py", "old_string": "1"}),
        call("Edit", {"file_path": "/p/./a.py", "old_string": "2"}),
    ),
    (
        call("Edit", {"file_path": "a.py", "old_string": "1"}),
        call("Write", {"file_path": "a.py", "content": "x"}),
    ),
    (
        call("Read", {"file_path": "a.py", "offset": 1}),
        call("Read", {"file_path": "a.py", "offset": 9}),
    ),
    (
        call("apply_patch", {"input": PATCH.format(1, 2)}),
        call("apply_patch", {"input": PATCH.format(2, 3)}),
    ),
    (bash("sed -i 's/return 1/return 2/' a.py"), bash("sed -i 's/return 2/return 3/' a.py")),
    (bash("sed -i -e s/1/2/ a.py && pytest"), bash("sed -i -e s/2/3/ a.py && pytest")),
    (bash("cat > a.py <<'EOF'\none\nEOF"), bash("cat > a.py <<'EOF'\ntwo\nEOF")),
    (
        bash("apply_patch <<'EOF'\n" + PATCH.format(1, 2) + "\nEOF"),
        bash("apply_patch <<'EOF'\n" + PATCH.format(2, 3) + "\nEOF"),
    ),
    (bash("echo 1 > a.txt"), bash("echo 2 > a.txt")),
]

OTHER_TARGET = [
    (bash("pytest tests/a"), bash("pytest tests/b")),
    (bash("npm test"), bash("npm run build")),
    (call("Edit", {"file_path": "a.py"}), call("Edit", {"file_path": "b.py"})),
    (call("Edit", {"file_path": "a.py"}), call("Read", {"file_path": "a.py"})),
    (
        call("Grep", {"pattern": "foo", "path": "src"}),
        call("Grep", {"pattern": "bar", "path": "src"}),
    ),
    (bash("sed -i s/1/2/ a.py"), bash("sed -i s/1/2/ b.py")),
    (bash("sed -n 1,20p a.py"), bash("sed -n 21,40p a.py")),
    (bash("python - <<'EOF'\nprint(1)\nEOF"), bash("python - <<'EOF'\nprint(2)\nEOF")),
    (bash("cat > a.py <<'EOF'\none\nEOF"), bash("cat > b.py <<'EOF'\none\nEOF")),
    (call("poll", {"command": "status"}), call("other", {"command": "status"})),
    (
        call("str_replace_editor", {"command": "view", "path": "a"}),
        call("str_replace_editor", {"command": "view", "path": "b"}),
    ),
]


@pytest.mark.parametrize("one, other", SAME_TARGET)
def test_what_stands_around_a_command_and_in_an_edit_makes_no_other_target(one, other):
    assert one.target == other.target


@pytest.mark.parametrize("one, other", OTHER_TARGET)
def test_another_file_or_command_is_another_target(one, other):
    assert one.target != other.target


@pytest.mark.parametrize(
    "one, verb",
    [
        (call("Read", {"file_path": "a"}), "read"), (call("read_file", {"path": "a"}), "read"), (call("MultiEdit", {"file_path": "a"}), "edit"),
        (call("apply_patch", {"input": "x"}), "edit"), (call("Write", {"file_path": "a"}), "write"), (call("mcp__github__get_issue", {"number": 1}), "get_issue"),
        (bash("python -m pytest -q"), "test"), (bash("cd x && npm run test:unit 2>&1 | tail"), "test"), (bash("go test ./..."), "test"),
        (bash("mise run test"), "test"), (bash("./run_tests.sh -v"), "test"), (bash("git add tests/test_a.py"), "git"), (bash("test -f x"), "["),
        (bash("cat tests/test_a.py"), "cat"), (bash("/usr/bin/make -j4"), "make"), (bash("sed -i s/a/b/ x"), "edit"), (bash(""), "bash"), (call(None), "call"),
    ],
)  # fmt: skip
def test_a_call_in_a_word(one, verb):
    assert one.verb == verb


@pytest.mark.parametrize(
    "one, label",
    [
        (bash("cd /p && CI=1 python -m  pytest 2>&1 | tail -20"), '"python -m pytest"'),
        (call("Edit", {"file_path": "/home/dev/app.py"}), "Edit app.py"),
        (call("apply_patch", {"input": PATCH.format(1, 2)}), "apply_patch a.py"),
        (call("WebFetch", {"url": "https://example.org"}), "WebFetch"),
        (call(None, None), "a tool"),
        (bash("x" * 200), '"' + "x" * 79 + '…"'),
    ],
)
def test_a_call_for_people(one, label):
    assert one.label == label


def test_what_only_waits_and_what_only_looks():
    assert (
        bash("sleep 60 && gh run view 12").polls
        and bash("gh run watch 1").polls
        and call("BashOutput", {"bash_id": "1"}).polls
    )
    assert (
        call("write_stdin", {"session_id": 1, "chars": ""}).polls
        and call("process", {"action": "poll"}).polls
    )
    assert (
        not call("write_stdin", {"session_id": 1, "chars": "y\n"}).polls
        and not bash("pytest").polls
        and not bash("echo sleep 5").polls
    )
    assert (
        not bash("cat a | head -5").changes
        and not bash("cd x && git status").changes
        and not call("Read", {"file_path": "a"}).changes
    )
    assert (
        bash("make").changes
        and bash("cat a > b").changes
        and bash("git commit -m x").changes
        and call("Write", {"file_path": "a"}).changes
    )
    assert bash("ls; rm x").changes and bash("echo $(rm x)").changes


@pytest.mark.parametrize(
    "arguments",
    [
        None,
        "",
        "not json",
        "{broken",
        [],
        [1],
        5,
        True,
        {"command": 7},
        {"command": None},
        {"command": [1]},
        {"file_path": {}},
        {"": {}},
    ],
)
@pytest.mark.parametrize("tool", [None, 7, "", "Bash", ["Bash"]])
def test_wrong_types_never_raise(tool, arguments):
    one = call(tool, arguments, step=[1], tool_use_id={})
    assert (
        isinstance(one.key, int)
        and isinstance(one.target, int)
        and isinstance(one.label, str)
        and isinstance(one.verb, str)
    )
    assert (
        isinstance(one.label, str) and isinstance(one.polls, bool) and isinstance(one.changes, bool)
    )


def test_arguments_that_are_no_json_have_a_key_too():
    deep: dict = {}
    for _ in range(5000):
        deep = {"a": deep}
    assert call("t", {"a": 1 << 200}).key == call("t", {"a": 1 << 200}).key
    assert call("t", {"a": "\ud83d"}).key != call("t", {"a": "\ud83e"}).key
    from agent_pipes.core.event import Event

    assert isinstance(Call(Event(b"", {"data": {"arguments": deep}})).key, int)
