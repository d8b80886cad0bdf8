"""The policy: its form, how its patterns match, and what is said of a bad one."""

import json
import os
import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent_pipes.core.event import make
from agent_pipes.scope.access import PathAccess
from agent_pipes.scope.command_patterns import DeniedCommands
from agent_pipes.scope.evaluate import SessionScope
from agent_pipes.scope.globs import PathPatterns, place
from agent_pipes.scope.host_patterns import HostPatterns
from agent_pipes.scope.paths import ResolvedPath, absolute, real
from agent_pipes.scope.policy import Policy, PolicyError
from agent_pipes.scope.policy_file import load_policy
from agent_pipes.shell import parse

ROOT = "/home/dev/proj"


def matches(pattern: str, path: str, *, wide: bool = True, root: str = ROOT) -> bool:
    return bool(PathPatterns([pattern], wide=wide).match(place(path, [root]), root))


def policy(tmp_path: Path, content: object) -> Policy:
    path = tmp_path / ".agent-scope.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(0o600)
    return load_policy(path)


def refusal(tmp_path: Path, content: object) -> str:
    with pytest.raises(PolicyError) as raised:
        policy(tmp_path, content)
    assert str(tmp_path / ".agent-scope.json") in str(raised.value)
    return str(raised.value).partition(".agent-scope.json")[2]


# ── Paths ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("pattern", "path", "denied", "allowed"),
    [
        ("deploy/**", "deploy/prod.yml", True, True),
        ("deploy/**", "deploy/a/b/c", True, True),
        ("deploy/**", "deploy", False, False),
        ("deploy/**", "src/deploy/x", False, False),
        ("deploy/**", "deployed/x", False, False),
        ("deploy/*", "deploy/x", True, True),
        ("deploy/*", "deploy/a/x", True, False),
        ("deploy", "deploy/a/x", True, True),
        ("deploy/", "a/deploy/x", True, True),
        ("./deploy", "a/deploy/x", False, False),
        ("deploy/prod.yml", "deploy/prod.yml", True, True),
        ("deploy/prod.yml", "deploy/prod.yaml", False, False),
        (".env", ".env", True, True),
        (".env", "a/b/.env", True, True),
        (".env", "a/.environment", False, False),
        ("*.pem", "a/b/key.pem", True, True),
        ("*.pem", "a/b/key.pem.txt", False, False),
        ("*.pem", "/etc/ssl/key.pem", True, False),
        ("**/*.pem", "/etc/ssl/key.pem", True, False),
        ("**/secrets/**", "a/b/secrets/c", True, True),
        ("**/secrets/**", "secrets/c", True, True),
        ("a/**/b", "a/b", True, True),
        ("a/**/b", "a/x/y/b", True, True),
        ("a/**/b", "a/x/y/c", False, False),
        ("a/**/b/**/c.?", "a/1/b/2/3/c.d", True, True),
        ("**", "a/b", True, True),
        ("**", "/etc/passwd", True, False),
        ("*", "a", True, True),
        (".", "a/b", True, True),
        ("/", "/etc/passwd", True, True),
        ("/etc/**", "/etc/passwd", True, True),
        ("/etc/**", "etc/passwd", False, False),
        ("/home/dev/proj/src/**", "src/a", True, True),
        ("../shared/**", "/home/dev/shared/x", True, True),
        ("../shared/**", "/home/dev/shared2/x", False, False),
        ("../proj/src/**", "src/x", True, True),
        ("dev", "src/x", False, False),
        ("dev", "/home/dev/other/x", False, False),
        ("src/[a-c]?.py", "src/bx.py", True, True),
        ("src/[a-c]?.py", "src/dx.py", False, False),
        ("[!a]*", "bcd", True, True),
        ("[!a]*", "abc", False, False),
        ("a\\*b", "a*b", True, True),
        ("a\\*b", "axb", False, False),
        ("[]x]", "]", True, True),
        ("a[b", "a[b", True, True),
        ("*a*b*c*", "xxaxxbxxcxx", True, True),
        ("*a*b*c", "acb", False, False),
        ("*ab*ab", "abab", True, True),
        ("*ab*ab", "aab", False, False),
        ("?", "é", True, True),
        ("src/./a//b", "src/a/b", True, True),
    ],
)
def test_path_patterns(pattern, path, denied, allowed):
    whole = path if path.startswith("/") else f"{ROOT}/{path}"
    assert matches(pattern, whole) is denied, "as what is denied"
    assert matches(pattern, whole, wide=False) is allowed, "as what is allowed"


def test_home_in_a_pattern(monkeypatch):
    monkeypatch.setenv("HOME", "/home/dev")
    assert matches("~/.ssh/**", "/home/dev/.ssh/id_rsa")
    assert matches("~", "/home/dev/.bashrc")
    assert not matches("~/.ssh/**", "/home/other/.ssh/id_rsa")


@pytest.mark.parametrize("pattern", ["", " ", "!src/**", "a\0b", "[z-a]x"])
def test_what_is_no_path_pattern(pattern):
    with pytest.raises(ValueError):
        PathPatterns([pattern], wide=True)


def test_the_first_pattern_of_the_list_is_the_one_that_is_named():
    patterns = PathPatterns(["nothing", "src/**", "*.py", "src/a.py"], wide=True)
    assert patterns.match(place(f"{ROOT}/src/a.py", [ROOT]), ROOT) == "src/**"


def _reference(pattern: list[str], parts: list[str]) -> bool:
    """Matching by trying everything: right, and exponential."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        if len(pattern) == 1:
            return bool(parts)
        return any(_reference(pattern[1:], parts[at:]) for at in range(len(parts) + 1))
    if not parts:
        return False
    expression = "".join(
        ".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern[0]
    )
    return bool(re.fullmatch(expression, parts[0])) and _reference(pattern[1:], parts[1:])


PART = st.text("ab", min_size=1, max_size=4)
GLOB = st.one_of(
    st.just("**"), st.text("ab*?", min_size=1, max_size=5).filter(lambda part: "**" not in part)
)


@settings(max_examples=600, deadline=None)
@given(st.lists(GLOB, min_size=2, max_size=6), st.lists(PART, min_size=1, max_size=6))
@example(["**", "a", "**", "a"], ["a", "a"])
@example(["a", "**", "**"], ["a"])
def test_matching_is_that_of_trying_everything(pattern, parts):
    lean = [
        part for at, part in enumerate(pattern) if part != "**" or pattern[at - 1 : at] != ["**"]
    ]
    assert matches("./" + "/".join(pattern), f"{ROOT}/{'/'.join(parts)}", wide=False) is (
        _reference(lean, parts)
        or (
            "*" not in lean[-1]
            and "?" not in lean[-1]
            and any(_reference(lean, parts[:end]) for end in range(1, len(parts)))
        )
    )


def test_twenty_double_stars_cost_nothing():
    path = f"{ROOT}/{'/'.join(['a'] * 40)}"
    patterns = [
        "/".join(["**", "a"] * 20) + "/b",
        "**/" * 20 + "b",
        "/".join(["**", "*a*"] * 20) + "/b",
        "/" + "/".join(["**", "a"] * 20) + "/b",
    ]
    start = time.process_time()
    for pattern in patterns:
        for wide in (True, False):
            assert not matches(pattern, path, wide=wide)
            assert matches(pattern, path + "/b", wide=wide)
    assert time.process_time() - start < 1


def test_stars_within_a_part_cost_nothing():
    name = "a" * 250
    start = time.process_time()
    assert not matches("*a" * 60 + "*b", f"{ROOT}/{name}")
    assert matches("*a" * 60 + "*b", f"{ROOT}/{name}b")
    denied = DeniedCommands(["x " + "*a" * 60 + "b"])
    assert denied.match(parse("x " + "a" * 5000)[0]) == ("", False)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "pattern",
    [
        "/".join(["**"] * 10) + "/b",
        "**/a" * 10 + "/b",
        "a/**/" * 10 + "b",
        "*a" * 10 + "b",
        "**/*a*a*a*b/**/*a*a*c",
    ],
)
def test_ten_wildcards_in_one_pattern_cost_nothing(pattern):
    patterns = PathPatterns([pattern], wide=True)
    paths = ["/".join(["a"] * 1000), "a" * 250, "/".join(["a" * 100] * 40)]
    start = time.process_time()
    for path in paths:
        assert not patterns.match(place(f"{ROOT}/{path}", [ROOT]), ROOT)
    assert time.process_time() - start < 0.2


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30), st.text(max_size=60), st.booleans())
@example("[", "a", True)
@example("a/../..", "a", True)
@example("**/..", "a", False)
@example("\\", "a", True)
def test_no_pattern_and_no_path_raises_anything_but_valueerror(pattern, path, wide):
    try:
        patterns = PathPatterns([pattern], wide=wide)
    except (ValueError, re.error):
        return
    where = place(absolute(path, ROOT), [ROOT])
    assert (
        isinstance(patterns.match(where, ROOT), str)
        and isinstance(patterns.possible(where, ROOT), bool)
        and isinstance(patterns.named(where, ROOT), str)
    )


# ── Judging ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def project(tmp_path):
    directory = tmp_path / "proj"
    for name in ("src", "deploy", "outside"):
        (directory / name if name != "outside" else tmp_path / name).mkdir(parents=True)
    return directory


def test_deny_wins_over_allow(tmp_path, project):
    made = policy(
        tmp_path, {"files": {"write": {"allow": ["src/**"], "deny": ["src/generated/**"]}}}
    )
    root = ResolvedPath.of(str(project))
    assert not made.path_verdict(
        PathAccess("write", ""), ResolvedPath.of(f"{project}/src/a.py"), root
    ).rule
    assert (
        made.path_verdict(
            PathAccess("write", ""), ResolvedPath.of(f"{project}/src/generated/a.py"), root
        ).rule
        == 'denied by files.write.deny "src/generated/**"'
    )
    assert (
        made.path_verdict(PathAccess("write", ""), ResolvedPath.of(f"{project}/README"), root).rule
        == "outside files.write.allow"
    )
    assert not made.path_verdict(
        PathAccess("read", ""), ResolvedPath.of(f"{project}/README"), root
    ).rule


def test_both_the_path_and_what_is_behind_it_are_judged(tmp_path, project):
    made = policy(tmp_path, {"files": {"write": {"allow": ["src/**"], "deny": ["deploy/**"]}}})
    root = ResolvedPath.of(str(project))

    def rule(path: str) -> str:
        return made.path_verdict(
            PathAccess("write", ""), ResolvedPath.of(f"{project}/{path}"), root
        ).rule

    (project / "src" / "in").symlink_to("../deploy")
    (project / "src" / "out").symlink_to(tmp_path / "outside")
    (project / "src" / "file").symlink_to("../deploy/prod.yml")
    (project / "deploy" / "back").symlink_to("../src")
    assert rule("src/in/prod.yml") == 'denied by files.write.deny "deploy/**"'
    assert rule("src/file") == 'denied by files.write.deny "deploy/**"'
    assert rule("src/out/x") == "outside files.write.allow"
    assert rule("src/new/dir/x") == ""
    assert rule("deploy/back/x"), "what is denied by its name is denied wherever it leads"
    assert rule("src/out/../x"), "the parent of a link is where the link leads"


def test_a_session_in_a_linked_directory(tmp_path, project):
    (tmp_path / "link").symlink_to(project)
    made = policy(
        tmp_path,
        {
            "files": {
                "write": {"allow": ["src/**", f"{tmp_path}/link/docs/**"], "deny": ["deploy/**"]}
            }
        },
    )
    for directory in (project, tmp_path / "link"):
        root = ResolvedPath.of(str(directory))
        for name in (project, tmp_path / "link"):
            assert not made.path_verdict(
                PathAccess("write", ""), ResolvedPath.of(f"{name}/src/a"), root
            ).rule
            assert not made.path_verdict(
                PathAccess("write", ""), ResolvedPath.of(f"{name}/docs/a"), root
            ).rule
            assert made.path_verdict(
                PathAccess("write", ""), ResolvedPath.of(f"{name}/deploy/a"), root
            ).rule.startswith("denied")


@pytest.mark.parametrize(
    "path", ["/" + "a/" * 5000, "/a\0b", "/\ud83d/x", "/" + "x" * 5000, "//..//../etc"]
)
def test_paths_that_no_system_call_takes(tmp_path, path):
    made = policy(tmp_path, {"files": {"write": {"allow": ["src/**"]}}})
    assert (
        made.path_verdict(
            PathAccess("write", ""), ResolvedPath.of(path), ResolvedPath.of(str(tmp_path))
        ).rule
        == "outside files.write.allow"
    )


@pytest.mark.parametrize(
    ("access", "path", "extent", "rule"),
    [
        ("write", "deploy", "all", 'denied by files.write.deny "deploy/**"'),
        ("write", ".", "all", 'denied by files.write.deny "deploy/**"'),
        ("write", "..", "all", 'denied by files.write.deny "deploy/**"'),
        ("write", "/", "all", 'denied by files.write.deny "deploy/**"'),
        ("write", "deploy", "in", 'denied by files.write.deny "deploy/**"'),
        ("write", "src", "all", ""),
        ("write", "src", "in", ""),
        ("read", "secrets", "all", 'denied by files.read.deny "secrets/**"'),
        ("read", ".", "all", ""),
        ("read", "secrets", "", ""),
    ],
)
def test_directories(tmp_path, access, path, extent, rule):
    made = policy(
        tmp_path,
        {"files": {"write": {"deny": ["deploy/**", "*.pem"]}, "read": {"deny": ["secrets/**"]}}},
    )
    assert (
        made.path_verdict(
            PathAccess(access, "", extent=extent),
            ResolvedPath.of(absolute(path, ROOT)),
            ResolvedPath.of(ROOT),
        ).rule
        == rule
    )


def test_a_directory_that_may_hold_something_denied_is_not_passed_off_as_checked(tmp_path):
    made = policy(
        tmp_path, {"files": {"write": {"deny": ["*.pem"]}, "read": {"deny": ["secrets/**"]}}}
    )
    assert (
        made.path_verdict(
            PathAccess("write", "", extent="all"),
            ResolvedPath.of(f"{ROOT}/src"),
            ResolvedPath.of(ROOT),
        ).unjudged
        == "tree"
    )
    assert (
        made.path_verdict(
            PathAccess("read", "", extent="all"), ResolvedPath.of(ROOT), ResolvedPath.of(ROOT)
        ).unjudged
        == "tree"
    )
    assert (
        made.path_verdict(
            PathAccess("read", "", extent="all"),
            ResolvedPath.of(f"{ROOT}/src"),
            ResolvedPath.of(ROOT),
        ).unjudged
        == ""
    )


def test_the_pattern_of_a_shell(tmp_path):
    made = policy(
        tmp_path, {"files": {"write": {"deny": ["deploy/**"]}, "read": {"allow": ["src/**"]}}}
    )

    def verdict(access: str, path: str) -> tuple[str, str]:
        found = made.path_verdict(
            PathAccess(access, "", glob=True),
            ResolvedPath.of(absolute(path, ROOT)),
            ResolvedPath.of(ROOT),
        )
        return found.rule, found.unjudged

    assert verdict("write", "deploy/*.yml") == ('denied by files.write.deny "deploy/**"', "")
    assert verdict("write", "*/x") == ("", "glob")
    assert verdict("read", "src/*.py") == ("", "")
    assert verdict("read", "*/a.py") == ("", "glob")
    assert verdict("read", "/etc/*") == ("outside files.read.allow", "")


@pytest.mark.parametrize(
    ("pattern", "line", "denied"),
    [
        ("git push", "git push", True), ("git push", "git push origin main", True), ("git push", "git pushx", False), ("git push", "git pull", False),
        ("git push *", "git push", True), ("git push *", "git push -f", True), ("git push *-f*", "git push origin -f", True), ("git push *-f*", "git push origin", False),
        ("rm -rf *", "rm -rf /", True), ("rm -rf *", "rm -f -r /", True), ("rm -rf *", "rm -fr /", True), ("rm -rf *", "rm -r /", False), ("rm -rf", "rm -rf x y", True),
        ("curl", "curl x", True), ("curl", "/usr/bin/curl x", True), ("curl*", "curlie x", True), ("*", "anything", True), ("* --force", "git push --force", True),
        ("* --force", "git push --force-with-lease", False), ("* --force", "x --force-with-lease --force y", True), ("npm run *:prod", "npm run deploy:prod now", True),
        ("git  push", "git push", True), ("git push", "git   push", True), ("a?c", "abc", True), ("echo 'x", "echo \\'x", True), ("npm", "npm", True),
    ],
)  # fmt: skip
def test_commands_denied(tmp_path, pattern, line, denied):
    (found,) = parse(line)
    verdict = policy(tmp_path, {"commands": {"deny": [pattern]}}).command_verdict(found)
    assert verdict.rule == (f'denied by commands.deny "{pattern}"' if denied else "")


@pytest.mark.parametrize(
    ("line", "outside"),
    [
        ("pytest", []), ("pytest -q", []), ("/usr/bin/pytest", []), ("./pytest", ["./pytest"]), ("/opt/evil/pytest", ["/opt/evil/pytest"]), ("make", ["make"]),
        ("cd x && pytest 2>&1 | tail -20", []), ("CI=1 timeout 60 pytest", []), ("bash -c 'pytest -q'", []), ("bash -c 'make'", ["make"]), ("pytest; make", ["make"]),
        ("echo hi; true; [ -f x ] && pytest", []), ("pytest | tail -20 log", ["tail -20 log"]), ("tail log", ["tail log"]), ("sudo pytest", ["sudo pytest"]),
        ("sudo make install", []), ("git status", []), ("git push", ["git push"]), ("echo $(make)", ["make"]), ("xargs make", ["make …"]), ("$CMD x", []),
        ("find . -exec make {} ;", ["find . -exec make {} ;", "make ./**"]),
    ],
)  # fmt: skip
def test_commands_allowed(tmp_path, line, outside):
    made = policy(tmp_path, {"commands": {"allow": ["pytest", "git status", "sudo make"]}})
    assert [
        str(found)
        for found in parse(line.replace(" ;", " \\;"))
        if found.words and made.command_verdict(found).rule
    ] == outside


@pytest.mark.parametrize(
    ("network", "host", "rule"),
    [
        ({"deny_all": True}, "example.org", "denied by network.deny_all"),
        ({"deny_all": True}, "localhost", "denied by network.deny_all"),
        ({"deny_all": True, "allow": ["localhost"]}, "localhost", ""),
        ({"deny_all": True, "allow": ["localhost"]}, "127.0.0.1", ""),
        ({"deny_all": True, "allow": ["localhost"]}, "localhost.evil.org", "outside network.allow"),
        ({"deny_all": True, "allow": ["github.com"]}, "GitHub.com.", ""),
        ({"deny_all": True, "allow": ["github.com"]}, "api.github.com", "outside network.allow"),
        ({"allow": ["*.github.com"]}, "api.github.com", ""),
        ({"allow": ["*.github.com"]}, "github.com", "outside network.allow"),
        ({"allow": ["*.github.com"]}, "evilgithub.com", "outside network.allow"),
        ({"allow": ["*"]}, "example.org", ""),
        ({"allow": ["::1"]}, "::1", ""),
    ],
)
def test_hosts(tmp_path, network, host, rule):
    assert policy(tmp_path, {"network": network}).host_verdict(host).rule == rule


@pytest.mark.parametrize(
    "host", ["https://github.com", "github.com:443", "github.com/x", "a b", "", "*.*", "-"]
)
def test_what_is_no_host(host):
    with pytest.raises(ValueError, match="without scheme, port and path"):
        HostPatterns([host])


# ── Loading ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", ":1:2: not JSON"),
        ('{\n "files": {"write": {"deny": ["a"],}}\n}', ":2:3"),
        ('{"files": {}} // comment', ":1:15: not JSON"),
        ("files:\n  write:\n    deny: [a]\n", ":1:1: not JSON"),
        ("", "empty: nothing to enforce"),
        ("  \n", "empty: nothing to enforce"),
        ("null", "expected an object with 'files', 'commands' or 'network', found null"),
        ("[]", "expected an object with 'files', 'commands' or 'network', found a list"),
        ('"x"', "found a string"),
        ("{}", "nothing to enforce"),
        ({"files": {}}, "nothing to enforce"),
        ({"files": {"write": {"deny": []}}}, "nothing to enforce"),
        ({"network": {"deny_all": False}}, "nothing to enforce"),
        ({"files": {"write": {"deny": "deploy/**"}}}, 'files.write.deny: expected a list of strings, such as ["src/**"], found a string'),
        ({"files": {"write": {"deny": [5]}}}, "files.write.deny[0]: expected a string, found a number"),
        ({"files": {"write": {"deny": ["a", None]}}}, "files.write.deny[1]: expected a string, found null"),
        ({"files": {"write": ["a"]}}, "files.write: expected an object with 'allow' or 'deny', found a list"),
        ({"files": {"wirte": {"deny": ["a"]}}}, "files.wirte: unknown key (did you mean 'write'?); expected delete, read, write"),
        ({"files": {"write": {"denny": ["a"]}}}, "did you mean 'deny'?"),
        ({"file": {"write": {"deny": ["a"]}}}, "file: unknown key (did you mean 'files'?); expected $schema, commands, files"),
        ({"zzz": 1}, "zzz: unknown key; expected $schema, commands, files"),
        ({"network": {"deny-all": True}}, "did you mean 'deny_all'?"),
        ({"network": {"deny_all": "yes"}}, 'network.deny_all: expected true or false, found a string'),
        ({"network": {"deny_all": 1}}, "network.deny_all: expected true or false, found a number"),
        ({"network": {"allow": ["https://x.org"]}}, 'network.allow[0]: expected a host such as "github.com"'),
        ({"network": {"allow": []}}, "network.allow: an empty list allows nothing at all"),
        ({"files": {"write": {"allow": []}}}, "files.write.allow: an empty list allows nothing at all"),
        ({"commands": {"deny": ["a", " "]}}, 'commands.deny[1]: an empty pattern matches nothing, found " "'),
        ({"files": {"read": {"deny": ["a", "!b"]}}}, 'files.read.deny[1]: a pattern cannot be negated with "!"'),
        ({"files": {"read": {"deny": ["[z-a]"]}}}, "files.read.deny[0]: the range z-a runs backwards"),
        ('{"files": {"write": {"deny": ["a"], "deny": ["b"]}}}', "the key 'deny' occurs twice"),
        ('{"files": {"write": {"deny": NaN}}}', "NaN is not a number"),
        ('{"a":' * 100_000, "nested too deep"),
    ],
)  # fmt: skip
def test_a_bad_policy_is_refused_with_file_key_and_what_was_expected(tmp_path, content, said):
    assert said in refusal(tmp_path, content)


def test_a_policy_that_is_not_there_or_no_file_or_not_readable(tmp_path):
    for path, said in (
        (tmp_path / "none.json", "there is no such file"),
        (tmp_path, "directory"),
        (Path("/dev/zero"), "not a regular file"),
        (tmp_path / "none" / "x", "no such file"),
    ):
        with pytest.raises(PolicyError) as raised:
            load_policy(path)
        assert str(path) in str(raised.value) and said in str(raised.value).lower()
    (tmp_path / "latin").write_bytes(b'{"files": {"write": {"deny": ["\xe9"]}}}')
    with pytest.raises(PolicyError, match="not UTF-8"):
        load_policy(tmp_path / "latin")
    (tmp_path / "huge").write_bytes(b" " * (17 << 20))
    with pytest.raises(PolicyError, match="longer than"):
        load_policy(tmp_path / "huge")


def test_a_byte_order_mark_is_no_error(tmp_path):
    made = policy(tmp_path, '\ufeff{"files": {"write": {"deny": ["a"]}}}')
    assert made.covered == {"write"}


def test_a_policy_that_others_can_write_is_warned_of(tmp_path, capfd):
    path = tmp_path / "scope.json"
    path.write_text('{"network": {"deny_all": true}}')
    for mode, warned in ((0o600, False), (0o644, False), (0o664, True), (0o646, True)):
        path.chmod(mode)
        load_policy(path)
        assert (": other users can edit it" in capfd.readouterr().err) is warned


def test_allowed_hosts_that_say_nothing_are_warned_of(tmp_path, capfd):
    policy(
        tmp_path, {"network": {"deny_all": False, "allow": ["a.org"]}, "commands": {"deny": ["x"]}}
    )
    assert "network.allow has no effect while network.deny_all is false" in capfd.readouterr().err


def test_a_policy_from_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    if os.fork() == 0:
        try:
            (tmp_path / "pipe").write_text('{"network": {"deny_all": true}}')
        finally:
            os._exit(0)
    assert load_policy(tmp_path / "pipe").covered == {"network"}
    os.wait()


def test_what_a_policy_covers(tmp_path):
    made = policy(tmp_path, {"files": {"read": {"deny": ["a"]}}, "network": {"deny_all": False}})
    assert made.covered == {"read"}


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inside: (
            st.lists(inside, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "files",
                        "read",
                        "write",
                        "allow",
                        "deny",
                        "commands",
                        "network",
                        "deny_all",
                        "x",
                    ]
                ),
                inside,
                max_size=3,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_a_policy_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(content))
    try:
        assert load_policy(path).covered
    except PolicyError as error:
        assert str(path) in str(error)


def test_random_bytes_are_refused(tmp_path):
    chance = random.Random(5)
    path = tmp_path / "bytes"
    for _ in range(200):
        path.write_bytes(
            bytes(chance.choice(b'{}[]",:\\ \n\xff\x00abc') for _ in range(chance.randrange(30)))
        )
        with pytest.raises(PolicyError):
            load_policy(path)


NAME = st.sampled_from(
    ["a", "b", "link", "up", "loop", "file", "shut", "hidden", "gone", "..", ".", ""]
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Directories with links: to a directory, upwards, absolute, dangling, to themselves."""
    top = tmp_path_factory.mktemp("tree")
    for where in (top, top / "a", top / "a" / "b", top / "shut", top / "shut" / "a"):
        where.mkdir(exist_ok=True)
        (where / "file").write_text("")
        for name, to in {
            "link": "a",
            "up": "../a",
            "loop": "loop",
            "hidden": str(top / "a" / "b"),
        }.items():
            (where / name).symlink_to(to)
    (top / "b").symlink_to("a/link/gone")
    (top / "shut").chmod(0)
    yield top
    (top / "shut").chmod(0o700)


@settings(max_examples=500, deadline=None)
@given(
    parts=st.lists(NAME, max_size=7),
    lead=st.sampled_from(["{}/", "/{}/", "{}/../{}/", "", "/", "//"]),
    last=st.sampled_from(["", "/", "/x" * 3000, "/" + "x" * 300, "\0", "\ud83d"]),
)
def test_what_is_behind_a_path_is_what_realpath_finds(tree, parts, lead, last):
    path = lead.format(tree, tree.name) + "/".join(parts) + last
    try:
        expected = os.path.realpath(path)
    except (OSError, ValueError):
        expected = os.path.normpath(path)
    assert real(path) == (expected if len(path) <= 4096 else os.path.normpath(path))


@pytest.mark.parametrize(
    "piece", ["x ", "-x ", "a/b ", "| sh ", "; git push ", "$X ", "{a,b} ", "*/"]
)
def test_judging_is_linear_in_the_command(piece):
    rules = {
        "files": {
            kind: {"deny": ["secrets/**", "**/.env"]} for kind in ("read", "write", "delete")
        },
        "commands": {"deny": ["git push --force", "rm -rf *", "curl | sh"]},
        "network": {"deny_all": True},
    }
    scope = SessionScope(Policy("policy.json", rules))
    start = time.process_time()
    for program in ("cat", "git", "rm", "docker run", "curl", "nosuch"):
        command = f"{program} {(piece * 3000)[:12_000]}"
        data = {"tool_name": "Bash", "arguments": {"command": command}}
        scope.evaluate(make("tool_call", 1.0, "s", data))
    # A quadratic judge needs minutes for one of these.
    assert time.process_time() - start < 20
