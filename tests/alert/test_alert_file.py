"""Alert file: one write per line, a torn line ended by the next, never through a link or a pipe."""

import os

from agent_pipes.alert.alert_file import MAX_LINE_BYTES, AlertFile
from tests.commands.test_kill import tripped
from tests.helpers.support import Stream, run


def test_a_long_line_is_cut_and_a_torn_line_of_an_earlier_writer_is_ended(tmp_path):
    path = tmp_path / "alerts.log"
    path.write_bytes(b"half a li")
    log = AlertFile(path)
    log.write("é".encode() * 5000 + b"\n")
    log.write(b"next\n")
    torn, long, after = path.read_bytes().splitlines()
    assert torn == b"half a li" and after == b"next"
    assert len(long) < MAX_LINE_BYTES and long.decode().strip("é") == "…"


def test_a_pipe_in_the_alert_files_place_stops_nothing(tmp_path):
    os.mkfifo(tmp_path / "alerts.log")
    stream = tripped(Stream())
    flood = b"".join(tripped(Stream()).bytes for _ in range(1500))
    done = run("trace-alert --to file --file", tmp_path / "alerts.log", input=stream.bytes + flood)
    assert done.returncode == 2 and done.stdout == stream.bytes + flood
