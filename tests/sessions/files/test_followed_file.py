"""A growing file: each of its lines comes once and whole, or the loss is reported."""

import os
import sys

import pytest

from tests.helpers.following import Following, append, numbered, overwrite

linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


# Growing


def test_a_line_that_is_appended_comes_once(following, path):
    append(path, b"one\n")
    assert following.read() == [b"one\n"]
    append(path, b"two\nthree\n")
    assert following.read() == [b"two\n", b"three\n"]
    assert following.later(5) == []
    assert following.warned == []


def test_a_file_is_read_from_its_beginning_and_its_lines_are_numbered(following, path):
    append(path, b"one\ntwo\n")
    (chunk,) = following.chunks()
    assert (chunk.path, chunk.lines, chunk.number, chunk.restarted) == (
        path,
        [b"one\n", b"two\n"],
        1,
        0,
    )
    append(path, b"three\n")
    (chunk,) = following.chunks()
    assert (chunk.number, chunk.restarted) == (3, 0)


def test_half_a_line_is_held_back_until_its_end_has_come(following, path):
    append(path, b'one\n{"par')
    assert following.read() == [b"one\n"]
    assert following.later(60) == []
    append(path, b't":1}\n{')
    assert following.read() == [b'{"part":1}\n']


def test_a_line_written_byte_by_byte_comes_whole(following, path):
    came = []
    for byte in b"first\nsecond\n":
        append(path, bytes([byte]))
        came.append(following.read())
    assert [line for line in came if line] == [[b"first\n"], [b"second\n"]]
    assert came[5] == [b"first\n"]


def test_the_last_line_of_a_finished_file_without_newline_comes_at_the_end(following, path):
    append(path, b'one\n{"half":1}')
    assert following.read() == [b"one\n"]
    assert following.rest() == [b'{"half":1}']
    append(path, b"\nthree\n")
    assert following.read() == [b"\n", b"three\n"]


def test_a_half_line_is_said_only_once(following, path):
    append(path, b"one\ntwo")
    assert following.rest() == [b"one\n", b"two"]
    following.warnings()
    assert following.rest() == []
    following.follower.remove(path)
    assert following.warned == []


def test_the_rest_is_read_without_being_told(following, path):
    append(path, b"one\ntwo")
    assert following.rest() == [b"one\n", b"two"]


def test_a_held_half_is_said_when_the_file_is_no_longer_followed(following, path):
    append(path, b"one\ntw")
    following.read()
    following.follower.remove(path)
    assert "a.jsonl:2: last line (2 bytes) has no newline; skipped" in following.warnings()


def test_a_record_torn_by_a_crash_and_the_next_on_the_same_line_come_as_one_line(following, path):
    append(path, b'{"prNu')
    following.read()
    append(path, b'{"parentUuid":null}\n')
    assert following.read() == [b'{"prNu{"parentUuid":null}\n']


@pytest.mark.parametrize(
    "line",
    [
        b"\xef\xbb\xbf{}\n",
        b"a\0b\0\n",
        b"\xff\xfe\x80\n",
        b"{}\r\n",
        b"a\rb\n",
        b"\n",
        b"\x0b\x0c\x1c\x85\n",
        "\u2028\u2029\n".encode(),
    ],
    ids=[
        "BOM",
        "NUL",
        "invalid UTF-8",
        "CRLF",
        "bare CR",
        "empty",
        "other separators",
        "Unicode separators",
    ],
)
def test_bytes_pass_as_they_are(following, path, line):
    append(path, line * 3)
    assert following.read() == [line] * 3


def test_fifty_thousand_lines_that_were_not_read_before_the_file_was_rotated_all_come_in_order(
    following, path
):
    append(path, b"first\n")
    assert following.read() == [b"first\n"]
    lines = list(numbered(50_000))
    append(path, b"".join(lines))
    path.rename(path.with_suffix(".1"))
    append(path, b"new\n")
    assert following.read() == [*lines, b"new\n"]


def test_memory_stays_bounded_since_a_chunk_is_a_chunk(following, path):
    line = b"x" * 999 + b"\n"
    append(path, line * 5000)
    sizes = [sum(map(len, chunk.lines)) for chunk in following.follower.read()]
    assert sum(sizes) == 5_000_000
    assert max(sizes) <= 1 << 20


@pytest.mark.parametrize("size", [7, 1000, 99_991])
def test_any_chunks_of_the_content_give_the_same_lines(tmp_path, monkeypatch, size):
    content = b"".join(numbered(3000)) + b"\r\n\0\n" + b"x" * 5000 + b"\nlast"
    (tmp_path / "a").write_bytes(content)
    monkeypatch.setattr("agent_pipes.sessions.files.followed_file.CHUNK_BYTES", size)
    following = Following(tmp_path / "a", poll=True)
    assert b"".join([*following.read(), *following.rest()]) == (tmp_path / "a").read_bytes()
    following.close()


# Truncated and written anew


def test_truncated_to_shorter_it_is_read_from_its_beginning(following, path):
    append(path, b"one\ntwo\nthree\n")
    following.read()
    overwrite(path, b"new\n")
    (chunk,) = following.chunks()
    assert (chunk.lines, chunk.number, chunk.restarted) == ([b"new\n"], 1, 1)
    assert following.warnings().endswith("a.jsonl: truncated; reading it again from the start")


def test_truncated_and_written_to_the_same_length_is_seen_by_its_content(following, path):
    append(path, b"one\ntwo\n")
    following.read()
    overwrite(path, b"uno\ndos\n")
    (chunk,) = following.chunks()
    assert (chunk.lines, chunk.number, chunk.restarted) == ([b"uno\n", b"dos\n"], 1, 1)
    assert following.warnings().endswith("a.jsonl: rewritten; reading it again from the start")


def test_truncated_and_written_longer_than_before_is_seen_by_its_content(following, path):
    append(path, b"one\n")
    following.read()
    overwrite(path, b"uno\ndos\ntres\n")
    assert following.read() == [b"uno\n", b"dos\n", b"tres\n"]
    assert "rewritten" in following.warnings()


def test_a_file_that_is_written_anew_between_two_looks_of_one_reading_gives_no_torn_line(
    following, path, monkeypatch
):
    append(path, b"one\n")
    following.read()
    append(path, b"two\n")
    pread = os.pread

    def late(fd: int, count: int, offset: int) -> bytes:
        if count > 4:
            monkeypatch.setattr(os, "pread", pread)
            overwrite(path, b"ab\ncd\nef\n")
        return pread(fd, count, offset)

    monkeypatch.setattr(os, "pread", late)
    assert following.read() == []
    assert following.read() == [b"ab\n", b"cd\n", b"ef\n"]


def test_a_half_line_is_never_glued_to_what_was_written_after_a_truncation(following, path):
    append(path, b'one\n{"par')
    following.read()
    overwrite(path, b"n\n")
    assert following.read() == [b"n\n"]
    assert "a.jsonl:2: last line (5 bytes) has no newline; skipped" in following.warnings()


def test_a_half_line_alone_that_is_written_anew_is_said(following, path):
    append(path, b"abc")
    following.read()
    overwrite(path, b"xyz\n")
    assert following.read() == [b"xyz\n"]
    assert "a.jsonl:1: last line (3 bytes) has no newline; skipped" in following.warnings()


def test_a_file_that_is_only_touched_gives_nothing(following, path):
    append(path, b"one\ntw")
    following.read()
    following.later(3)
    os.utime(path, (1e9, 1e9))
    assert following.read() == following.later(3) == following.later(3) == []
    append(path, b"o\n")
    assert following.read() == [b"two\n"]
    assert following.warned == []


def test_a_hole_of_nul_bytes_passes(following, path):
    """Left by copytruncate, where the writer goes on at its old place."""
    with path.open("wb", buffering=0) as writer:
        writer.write(b"one\n")
        following.read()
        os.truncate(path, 0)
        writer.write(b"two\n")
        assert following.read() == [b"\0\0\0\0two\n"]


def test_the_line_behind_a_hole_longer_than_any_line_is_not_lost(poll, path):
    following = Following(path, poll=poll, max_line=1 << 20)
    with path.open("wb", buffering=0) as writer:
        writer.write(b"one\n")
        assert following.read() == [b"one\n"]
        os.truncate(path, 0)
        writer.seek(10 << 20)
        writer.write(b"two\nthree\n")
    (long, last) = following.read()
    assert (long.lstrip(b"\0"), last) == (b"two\n", b"three\n")
    left_out = (10 << 20) + 4 - len(long)
    assert f"a.jsonl:1: skipped {left_out} NUL bytes before the line" in following.warnings()
    following.close()


# Long lines


def test_a_line_of_100_mb_is_said_with_its_length_and_skipped_and_the_next_is_read(following, path):
    append(path, b"one\n")
    with path.open("ab") as file:
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b"\nthree\n")
    chunks = following.chunks()
    assert [(chunk.lines, chunk.number) for chunk in chunks] == [
        ([b"one\n"], 1),
        ([b"", b"three\n"], 2),
    ]
    assert following.warnings().endswith(
        f"a.jsonl:2: line of {(100 << 20) + 1} bytes is longer than {64 << 20}; skipped (see --max-line)"
    )


def test_a_line_of_30_mb_comes_whole(following, path):
    line = b"x" * (30 << 20) + b"\n"
    append(path, line)
    assert following.read() == [line]


@pytest.mark.parametrize("at_once", [True, False])
def test_the_limit_holds_for_each_line_however_it_comes(poll, path, at_once):
    following = Following(path, poll=poll, max_line=10)
    content = b"123456789\n" + b"1234567890\n" + b"next\n" + b"x" * 1000 + b"\nlast\n"
    came = []
    for part in [content] if at_once else [content[at : at + 1] for at in range(len(content))]:
        append(path, part)
        came += following.chunks()
    numbered = [
        (chunk.number + at, line) for chunk in came for at, line in enumerate(chunk.lines) if line
    ]
    assert numbered == [(1, b"123456789\n"), (3, b"next\n"), (5, b"last\n")]
    said = following.warnings()
    assert "a.jsonl:2: line of 11 bytes is longer than 10; skipped" in said
    assert "a.jsonl:4: line of 1001 bytes is longer than 10; skipped" in said
    following.close()


def test_a_line_that_is_too_long_and_has_no_end_is_said_at_the_end(poll, path):
    following = Following(path, poll=poll, max_line=10)
    append(path, b"one\n" + b"x" * 100)
    assert following.rest() == [b"one\n"]
    assert following.rest() == []
    assert (
        following.warnings().count(
            "a.jsonl:2: last line (100 bytes) has no newline and is longer than 10 bytes; skipped"
        )
        == 1
    )
    following.close()
