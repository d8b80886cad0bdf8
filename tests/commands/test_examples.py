"""agent-strace examples: the sessions that the man pages use."""

from tests.helpers.support import FIXTURES, run


def test_the_sessions_are_copied_into_a_new_directory(tmp_path):
    done = run("agent-strace", "examples", tmp_path / "new")
    assert done.returncode == 0 and done.stderr == b""
    copied = {p.relative_to(tmp_path / "new") for p in (tmp_path / "new").rglob("*")}
    assert copied == {p.relative_to(FIXTURES) for p in FIXTURES.rglob("*")}
    assert run("trace-detect-retry", input=(tmp_path / "new/spiral.ndjson").read_bytes()).stdout


def test_nothing_is_written_into_a_directory_that_has_files(tmp_path):
    (tmp_path / "mine").write_text("")
    done = run("agent-strace", "examples", tmp_path)
    assert done.returncode == 2 and b"not an empty directory" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
