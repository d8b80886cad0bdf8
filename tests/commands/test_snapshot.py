"""trace-snapshot: what the agent broke can be had back, and nothing of the user's is touched."""

import os
import shutil
import subprocess
import time

import pytest

from agent_pipes.process.table import identify
from tests.helpers.support import Stream, events_of, run, start, until

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")

SESSION = "3f6e2c1a-9b7d-4e10-8a52-6d1c0f9be771"


def git(place, *words: str) -> str:
    identity = ["-c", "user.name=dev", "-c", "user.email=dev@example.invalid"]
    done = subprocess.run(
        ["git", "-C", str(place), *identity, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def place(tmp_path):
    """A repository with a change in the index, one in the tree, and a file of each kind."""
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("ignored\n")
    (tmp_path / "kept.py").write_text("one\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "start")
    (tmp_path / "staged.py").write_text("staged\n")
    git(tmp_path, "add", "staged.py")
    (tmp_path / "kept.py").write_text("two\n")
    (tmp_path / "new.py").write_text("new\n")
    (tmp_path / "ignored").write_text("secret\n")
    return tmp_path


def live(place, pid: int | None = None) -> Stream:
    identity = identify(pid or os.getpid())
    stream = Stream()
    stream.add("history_start")
    stream.add("process", {"pid": identity.pid, "started": identity.started, "how": "registry"})
    stream.add("session_start", {"cwd": str(place)})
    stream.add("history_end")
    return stream


def tripped(stream: Stream) -> Stream:
    fields = {"watcher": "retry", "level": "critical", "message": '"pytest" failed 3 times'}
    stream.add("violation", fields)
    return stream


def snapshots(done) -> list[dict]:
    return [event["data"] for event in events_of(done.stdout, "snapshot")]


def test_the_start_is_committed_with_untracked_files_and_without_ignored_ones(place):
    before = git(place, "status", "--porcelain"), git(place, "rev-parse", "HEAD")
    index = (place / ".git" / "index").read_bytes()
    done = run("trace-snapshot", input=live(place).bytes)
    (found,) = snapshots(done)
    assert found["ref"] == f"refs/agent-pipes/{SESSION}/1" and found["at"] == "start"
    assert git(place, "rev-parse", found["ref"]) == found["commit"]
    files = git(place, "ls-tree", "-r", "--name-only", found["ref"]).split()
    assert files == [".gitignore", "kept.py", "new.py", "staged.py"]
    assert git(place, "show", f"{found['ref']}:kept.py") == "two"
    assert (place / ".git" / "index").read_bytes() == index
    assert (git(place, "status", "--porcelain"), git(place, "rev-parse", "HEAD")) == before
    assert git(place, "stash", "list") == ""


def test_what_the_agent_broke_is_restored_by_plain_git(place):
    breaker = start("trace-snapshot")
    breaker.stdin.write(live(place).bytes)
    breaker.stdin.flush()
    ref = f"refs/agent-pipes/{SESSION}/"
    until(lambda: git(place, "for-each-ref", ref), what="the first snapshot")
    (place / "kept.py").write_text("broken\n")
    (place / "new.py").unlink()
    out, _ = breaker.communicate(tripped(live(place)).bytes, timeout=30)
    first, second = [event["data"]["ref"] for event in events_of(out, "snapshot")]
    assert git(place, "show", f"{second}:kept.py") == "broken"
    assert git(place, "diff", "--name-status", first, second).split() == [
        "M", "kept.py", "D", "new.py",
    ]  # fmt: skip
    git(place, "restore", "--source", first, "--", "kept.py", "new.py")
    assert (place / "kept.py").read_text() == "two\n" and (place / "new.py").exists()


def test_only_what_was_asked_for(place):
    done = run("trace-snapshot", "--at", "violation", input=tripped(live(place)).bytes)
    assert [each["at"] for each in snapshots(done)] == ["violation"]


def test_a_tree_without_a_change_gets_no_further_commit(place):
    done = run("trace-snapshot", input=tripped(live(place)).bytes)
    assert [each["ref"][-2:] for each in snapshots(done)] == ["/1", "/1"]


def test_a_session_in_a_directory_below_commits_the_whole_tree(place):
    (place / "below").mkdir()
    (found,) = snapshots(run("trace-snapshot", input=live(place / "below").bytes))
    assert "kept.py" in git(place, "ls-tree", "-r", "--name-only", found["ref"])


def test_a_repository_without_a_commit(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("a\n")
    (found,) = snapshots(run("trace-snapshot", input=live(tmp_path).bytes))
    assert git(tmp_path, "show", f"{found['ref']}:a") == "a"


def test_what_git_cannot_add_is_reported_and_the_rest_is_taken(place):
    (place / "inner").mkdir()
    git(place / "inner", "init", "-q")
    (place / "inner" / "f").write_text("f\n")
    done = run("trace-snapshot", input=live(place).bytes)
    (found,) = snapshots(done)
    assert git(place, "show", f"{found['ref']}:new.py") == "new"
    assert b"the snapshot is not complete: error: 'inner/'" in done.stderr


def test_a_worktree_of_its_own_and_a_submodule(place, tmp_path_factory):
    library = tmp_path_factory.mktemp("library")
    git(library, "init", "-q")
    (library / "x").write_text("x\n")
    git(library, "add", "-A")
    git(library, "commit", "-qm", "x")
    git(place, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), "lib")
    git(place, "commit", "-qm", "library")
    other = tmp_path_factory.mktemp("other") / "tree"
    git(place, "worktree", "add", "-q", str(other), "-b", "other")
    (other / "b").write_text("b\n")
    (place / "lib" / "x").write_text("changed\n")
    for where, name in ((other, "b"), (place, "new.py")):
        (found,) = snapshots(run("trace-snapshot", input=live(where).bytes))
        assert name in git(where, "ls-tree", "-r", "--name-only", found["ref"]).split()
        assert git(where, "rev-parse", f"{found['ref']}:lib") == git(library, "rev-parse", "HEAD")


def test_a_repository_without_a_work_tree_is_reported(tmp_path):
    git(tmp_path, "init", "-q", "--bare")
    done = run("trace-snapshot", input=tripped(live(tmp_path)).bytes)
    assert done.returncode == 0 and snapshots(done) == []
    assert b"no snapshot: fatal: this operation must be run in a work tree" in done.stderr


def test_a_replayed_session_is_none_of_today(place):
    """Its process has ended, and the work tree has long been another."""
    over = Stream()
    over.add("process", {"pid": os.getpid(), "started": "1", "how": "registry"})
    over.add("session_start", {"cwd": str(place)})
    done = run("trace-snapshot", input=tripped(over).bytes)
    assert snapshots(done) == [] and git(place, "for-each-ref", "refs/agent-pipes/") == ""


def test_without_git_it_is_said_and_nothing_else_stops(tmp_path):
    done = run("trace-snapshot", input=tripped(live(tmp_path)).bytes)
    assert done.returncode == 0 and b"no snapshot: fatal: not a git repository" in done.stderr
    assert [event["event_type"] for event in events_of(done.stdout)][-1] == "violation"


def test_a_slow_git_delays_no_event(place, tmp_path):
    slow = tmp_path / "bin"
    slow.mkdir()
    (slow / "git").write_text("#!/bin/sh\nsleep 3\n")
    (slow / "git").chmod(0o755)
    breaker = start("trace-snapshot", env={"PATH": f"{slow}:{os.environ['PATH']}"})
    stream = tripped(live(place)).bytes
    began = time.monotonic()
    breaker.stdin.write(stream)
    breaker.stdin.flush()
    while b'"violation"' not in breaker.stdout.readline():
        pass
    assert time.monotonic() - began < 2.9
    breaker.kill()
    breaker.communicate()


def test_a_session_id_that_is_no_name_of_a_ref(place):
    stream = live(place)
    for event in stream.events:
        event["session_id"] = "../../heads/main.lock"
    (found,) = snapshots(run("trace-snapshot", input=stream.bytes))
    assert found["ref"].startswith("refs/agent-pipes/") and found["ref"].count("/") == 3
