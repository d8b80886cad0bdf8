"""Following a path: whatever it comes to name, each line comes once, or what was lost is said."""

import errno
import os
import sys
from pathlib import Path

import pytest

from agent_pipes.sessions.files.file_follower import ROTATED_S, FileFollower
from tests.helpers.following import Following, append, numbered, replace, unprivileged

linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


# Replaced by another file


def test_rotated_the_old_file_is_read_to_its_end_and_then_the_new_one(following, path):
    append(path, b"one\n")
    following.read()
    append(path, b"two\n")
    path.rename(path.with_suffix(".1"))
    append(path, b"three\n")
    chunks = following.chunks()
    assert [(chunk.lines, chunk.number, chunk.restarted) for chunk in chunks] == [
        ([b"two\n"], 2, 0),
        ([b"three\n"], 1, 1),
    ]
    assert following.warnings().endswith(
        "a.jsonl: replaced by another file; reading it again from the start"
    )


def test_what_is_still_written_to_the_old_file_after_the_rotation_comes(following, path):
    with path.open("ab", buffering=0) as old:
        old.write(b"one\n")
        following.read()
        path.rename(path.with_suffix(".1"))
        append(path, b"new\n")
        assert following.read() == [b"new\n"]
        old.write(b"two\nthr")
        assert following.later(ROTATED_S - 1) == [b"two\n"]
        old.write(b"ee\n")
        assert following.later(ROTATED_S - 1) == [b"three\n"]
        assert following.later(ROTATED_S + 1) == []
        assert len(following.follower._open_files) == 1
        old.write(b"too late\n")
        assert following.later() == []


def test_the_half_line_at_the_end_of_the_old_file_is_said_when_that_is_given_up(following, path):
    append(path, b"one\ntwo")
    following.read()
    path.rename(path.with_suffix(".1"))
    append(path, b"new\n")
    assert following.read() == [b"new\n"]
    following.warnings()
    following.later(ROTATED_S + 1)
    assert "a.jsonl:2: last line (3 bytes) has no newline; skipped" in following.warnings()


@pytest.mark.parametrize("slowly", [False, True])
def test_deleted_and_made_again_the_new_file_is_read(following, path, slowly):
    append(path, b"one\n")
    following.read()
    append(path, b"two\n")
    path.unlink()
    if slowly:
        assert following.read() == [b"two\n"]
        following.later(ROTATED_S + 1)
        following.later(ROTATED_S + 1)
        assert "deleted or renamed; waiting" in following.warnings()
    append(path, b"three\n")
    assert following.read() == ([b"three\n"] if slowly else [b"two\n", b"three\n"])
    assert "replaced by another file; reading it again from the start" in following.warnings()


def test_what_is_written_to_a_deleted_file_comes_until_another_takes_its_place(following, path):
    with path.open("ab", buffering=0) as writer:
        writer.write(b"one\n")
        following.read()
        path.unlink()
        following.later(ROTATED_S + 1)
        following.later(3600)
        writer.write(b"two\n")
        assert following.read() == [b"two\n"]


def test_replaced_atomically_by_other_content_it_is_read_whole(following, path):
    append(path, b"one\ntwo\n")
    following.read()
    replace(path, b"uno\ndos\n")
    (chunk,) = following.chunks()
    assert (chunk.lines, chunk.number, chunk.restarted) == ([b"uno\n", b"dos\n"], 1, 1)


def test_renamed_away_and_back_it_goes_on_without_a_replay(following, path):
    append(path, b"one\n")
    following.read()
    for seconds in (0, 100):
        path.rename(path.with_suffix(".1"))
        following.later(seconds)
        following.later(seconds)
        path.with_suffix(".1").rename(path)
        append(path, b"two\n")
        assert following.read() == [b"two\n"]


def test_twenty_rotations_at_once_lose_nothing_of_the_first_and_last_file(following, path):
    append(path, b"first\n")
    following.read()
    for number in range(20):
        append(path, b"end of %d\n" % number)
        path.rename(path.with_suffix(f".{number}"))
        append(path, b"start of %d\n" % (number + 1))
    assert following.read() == [b"end of 0\n", b"start of 20\n"]


@pytest.mark.parametrize(
    "away",
    [
        lambda path: path.rename(path.with_suffix(".1")),
        lambda path: path.unlink(),
        lambda path: None,
    ],
    ids=["renamed", "deleted", "replaced"],
)
def test_a_file_that_was_there_is_held_from_when_it_is_added(poll, path, away):
    append(path, b"first\n")
    following = Following(path, poll=poll)
    away(path)
    replace(path, b"second\n")
    assert following.read() == [b"first\n", b"second\n"]
    assert "came and went" not in following.warnings()
    following.close()


def test_a_symlink_that_is_switched_is_followed_to_its_new_target(following, path, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"one\n")
    two.write_bytes(b"two\n")
    path.symlink_to(one)
    assert following.read() == [b"one\n"]
    other = tmp_path / "link"
    other.symlink_to(two)
    other.rename(path)
    assert following.read() == [b"two\n"]
    append(two, b"three\n")
    append(one, b"late\n")
    assert sorted(following.read()) == [b"late\n", b"three\n"]
    other.symlink_to(one)
    other.rename(path)
    append(one, b"back\n")
    assert following.read() == [b"one\n", b"late\n", b"back\n"]


def test_what_a_symlink_points_to_may_appear_and_be_replaced_out_of_sight(
    following, path, tmp_path
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    target = elsewhere / "target"
    path.symlink_to(target)
    following.read()
    target.write_bytes(b"one\n")
    assert following.later() == [b"one\n"]
    replace(target, b"two\n")
    assert following.read() == [b"two\n"]


# Not there, or no file


def test_a_file_that_appears_later_is_waited_for_and_said_once(poll, path):
    following = Following(path, poll=poll)
    for _ in range(5):
        assert following.later(10) == []
    assert following.warned == []
    append(path, b"one\n")
    assert following.read() == [b"one\n"]
    following.close()


def test_directories_of_several_levels_may_appear_later(poll, tmp_path):
    path = tmp_path / "a" / "b" / "c" / "d.jsonl"
    following = Following(path, poll=poll)
    assert following.read() == []
    path.parent.parent.mkdir(parents=True)
    assert following.read() == []
    path.parent.mkdir()
    path.write_bytes(b"one\n")
    assert following.read() == [b"one\n"]
    following.close()


def test_a_directory_may_go_and_come_back(poll, tmp_path):
    path = tmp_path / "a" / "b" / "c.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"one\n")
    following = Following(path, poll=poll)
    assert following.read() == [b"one\n"]
    for level in (path.parent, path.parent.parent):
        path.unlink()
        for directory in (path.parent, path.parent.parent):
            directory.rmdir()
            if directory == level:
                break
        assert following.read() == []
        path.parent.mkdir(parents=True)
        assert following.later() == []
        path.write_bytes(b"again in %s\n" % level.name.encode())
        assert following.read() == [b"again in %s\n" % level.name.encode()]
    following.close()


def test_a_directory_that_was_deleted_with_its_file_and_made_again_is_watched_at_once(
    poll, tmp_path
):
    path = tmp_path / "a" / "b.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"one\n")
    following = Following(path, poll=poll)
    assert following.read() == [b"one\n"]
    path.unlink()
    path.parent.rmdir()
    assert following.read() == []
    path.parent.mkdir()
    assert following.read() == []
    path.write_bytes(b"two\n")
    assert following.read() == [b"two\n"]
    following.close()


def test_a_directory_that_is_renamed_and_another_made_in_its_place(poll, tmp_path):
    path = tmp_path / "a" / "b.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"one\n")
    following = Following(path, poll=poll)
    assert following.read() == [b"one\n"]
    path.parent.rename(tmp_path / "old")
    append(tmp_path / "old" / "b.jsonl", b"two\n")
    assert following.read() == [b"two\n"]
    path.parent.mkdir()
    path.write_bytes(b"three\n")
    assert following.later() == [b"three\n"]
    following.close()


def test_a_name_that_becomes_a_directory_and_a_file_again(following, path):
    append(path, b"one\n")
    following.read()
    path.unlink()
    path.mkdir()
    assert following.read() == []
    assert following.later() == []
    assert following.warnings().endswith("a.jsonl: is a directory; waiting for a regular file")
    path.rmdir()
    append(path, b"two\n")
    assert following.read() == [b"two\n"]


def test_a_named_pipe_is_refused_without_being_opened(following, path):
    append(path, b"one\n")
    following.read()
    path.unlink()
    os.mkfifo(path)
    assert following.read() == []
    assert following.later() == []
    assert following.warnings().endswith("a.jsonl: is a named pipe; waiting for a regular file")
    with pytest.raises(OSError, match="No such device or address"):
        os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    path.unlink()
    append(path, b"two\n")
    assert following.read() == [b"two\n"]


def test_what_takes_the_files_place_while_it_is_being_opened_is_not_read_as_the_file(
    following, path, monkeypatch
):
    append(path, b"one\n")
    opened = os.open

    def late(name, flags: int, *args) -> int:
        monkeypatch.setattr(os, "open", opened)
        path.rename(path.with_suffix(".1"))
        os.mkfifo(path)
        return opened(name, flags, *args)

    monkeypatch.setattr(os, "open", late)
    assert following.read() == []
    assert following.warned == []
    assert following.later() == []
    assert following.warnings().endswith("is a named pipe; waiting for a regular file")


def test_what_is_wrong_is_said_again_when_it_comes_again(following, path):
    for number in range(3):
        os.mkfifo(path)
        assert following.later() == []
        assert following.warnings().endswith("a.jsonl: is a named pipe; waiting for a regular file")
        path.unlink()
        replace(path, b"%d\n" % number)
        assert following.read() == [b"%d\n" % number]
        path.unlink()


def test_a_device_is_refused(poll, tmp_path):
    path = tmp_path / "zero"
    path.symlink_to("/dev/zero")
    following = Following(path, poll=poll)
    assert following.read() == []
    assert "is a device; waiting for a regular file" in following.warnings()
    following.close()


# Permission, and errors


def test_permission_that_is_taken_away_from_an_open_file_does_not_matter(poll):
    with unprivileged() as directory:
        path = directory / "a.jsonl"
        path.write_bytes(b"one\n")
        following = Following(path, poll=poll)
        assert following.read() == [b"one\n"]
        with path.open("ab", buffering=0) as writer:
            path.chmod(0)
            writer.write(b"two\n")
            assert following.read() == [b"two\n"]
        following.close()


def test_permission_to_read_that_comes_later_is_waited_for(poll):
    with unprivileged() as directory:
        path = directory / "a.jsonl"
        path.write_bytes(b"one\n")
        path.chmod(0)
        following = Following(path, poll=poll)
        for _ in range(3):
            assert following.later() == []
        assert following.warnings().endswith(
            "a.jsonl: cannot read (Permission denied); retrying every 2 s"
        )
        path.chmod(0o600)
        assert following.read() == [b"one\n"]
        following.close()


def test_a_directory_that_may_not_be_searched_for_a_while_loses_nothing(poll):
    with unprivileged() as directory:
        path = directory / "sub" / "a.jsonl"
        path.parent.mkdir()
        path.write_bytes(b"one\n")
        following = Following(path, poll=poll)
        assert following.read() == [b"one\n"]
        with path.open("ab", buffering=0) as writer:
            path.parent.chmod(0)
            writer.write(b"two\n")
            assert following.later() == [b"two\n"]
            assert "cannot stat (Permission denied)" in following.warnings()
            path.parent.chmod(0o700)
            writer.write(b"three\n")
            assert following.later() == [b"three\n"]
        following.close()


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOMEM])
def test_an_error_of_reading_is_said_once_and_tried_again(following, path, monkeypatch, number):
    append(path, b"one\n")
    assert following.read() == [b"one\n"]
    append(path, b"two\n")

    def failing(*args: object) -> bytes:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", failing)
        for _ in range(3):
            assert following.later() == []
    assert following.warnings().endswith(
        f"a.jsonl: cannot read ({os.strerror(number)}); retrying every 2 s"
    )
    assert following.later() == [b"two\n"]


def test_a_stale_handle_is_opened_again(following, path, monkeypatch):
    append(path, b"one\n")
    assert following.read() == [b"one\n"]
    append(path, b"two\n")
    pread, opened = os.pread, os.open
    stale = True

    def reopen(*args) -> int:
        nonlocal stale
        stale = False
        return opened(*args)

    def read(*args) -> bytes:
        if stale:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return pread(*args)

    monkeypatch.setattr(os, "open", reopen)
    monkeypatch.setattr(os, "pread", read)
    assert following.read() == []
    assert following.later() == [b"two\n"]


# Several files


def test_each_of_several_files_has_its_own_lines(poll, tmp_path):
    paths = [tmp_path / name for name in ("a", "b", "c")]
    following = Following(*paths, poll=poll)
    following.read()
    for number, path in enumerate(paths):
        append(path, b"%d\n" % number)
    assert {chunk.path.name: chunk.lines for chunk in following.chunks()} == {
        "a": [b"0\n"],
        "b": [b"1\n"],
        "c": [b"2\n"],
    }
    following.follower.remove(paths[1])
    for path in paths:
        append(path, b"more\n")
    assert sorted(chunk.path.name for chunk in following.chunks()) == ["a", "c"]
    following.close()


def test_two_names_of_one_file_are_both_followed(poll, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1\n")
    two.hardlink_to(one)
    following = Following(one, two, poll=poll)
    assert following.read() == [b"1\n", b"1\n"]
    append(one, b"2\n")
    assert following.read() == [b"2\n", b"2\n"]
    following.follower.remove(one)
    append(one, b"3\n")
    assert following.read() == [b"3\n"]
    following.close()


def test_a_file_added_and_removed_while_reading(poll, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    lines = list(numbered(60_000))
    one.write_bytes(b"".join(lines))
    two.write_bytes(b"2\n")
    following = Following(one, poll=poll)
    came = []
    for chunk in following.follower.read():
        came.append(chunk)
        following.follower.add(two)
        following.follower.remove(one)
    assert came[0].lines == lines[: len(came[0].lines)]
    assert following.read() == [b"2\n"]
    following.close()


def test_a_relative_path_is_followed(poll, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    following = Following(Path("a.jsonl"), Path("sub/b.jsonl"), poll=poll)
    following.read()
    Path("a.jsonl").write_bytes(b"one\n")
    Path("sub").mkdir()
    Path("sub/b.jsonl").write_bytes(b"two\n")
    assert sorted(following.read()) == [b"one\n", b"two\n"]
    following.close()


def test_a_closed_follower_reads_nothing(poll, path):
    path.write_bytes(b"one\n")
    follower = FileFollower(poll=poll, warn=print)
    follower.add(path)
    follower.close()
    assert list(follower.read()) == []
    assert follower.fileno() == -1
