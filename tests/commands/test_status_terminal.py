"""trace-status on a terminal: its size, a session that trips, and each way in which it ends."""

import os
import subprocess

import pytest

from tests.helpers.support import Stream, until
from tests.helpers.terminal import Terminal, needs_tmux, terminal

pytestmark = needs_tmux

GOES_ON = "(cat events; sleep 120)"


def write_sessions(folder, count: int) -> None:
    streams = [Stream(session=f"{number:08d}-x").spiral(2) for number in range(count)]
    (folder / "events").write_bytes(b"".join(stream.bytes for stream in streams))


@pytest.mark.parametrize("columns, rows", [(40, 10), (80, 24), (200, 50)])
@pytest.mark.parametrize("count", [1, 3, 50])
def test_the_screen_at_its_size(tmp_path, columns, rows, count):
    write_sessions(tmp_path, count)
    script = "(cat events; sleep 1.5) | trace-status --all >/dev/null"
    with terminal(tmp_path, columns, rows, script) as pane:
        lines = pane.shows("DONE").splitlines()
    fits = count if count <= rows - 4 else rows - 5
    assert lines[-3].endswith(f"› {count} working · $0.00") and lines[-1] == "DONE"
    assert sum("DIRECTORY" in text for text in lines) <= 1
    # The two lines that follow may have scrolled the first rows away.
    assert fits - 2 <= sum(text.startswith("› ") and "–" in text for text in lines) <= fits
    assert (f"… and {count - fits} more" in lines) == (fits < count)


@pytest.mark.parametrize("columns, row", [(40, "✗ "), (80, "✗ "), (200, "✗ tripped ")])
def test_a_session_that_trips_comes_first_and_says_why(tmp_path, columns, row):
    write_sessions(tmp_path, 3)
    last = Stream(session="trips").spiral(4)
    (tmp_path / "last").write_bytes(last.bytes)
    (tmp_path / "go").touch()
    script = (
        "(cat events; while [ -e go ]; do sleep 0.1; done; cat last; sleep 120) |"
        " trace-detect-retry --max 3 | trace-status --all --limit retry=3 >/dev/null"
    )
    with terminal(tmp_path, columns, 12, script) as pane:
        assert pane.shows("working")
        (tmp_path / "go").unlink()
        until(lambda: row in pane.screen(), what="a tripped session")
        screen, painted = pane.screen().splitlines(), pane.screen(colours=True)
    assert screen[1].startswith(row) and "100%" in screen[1]
    assert "1 tripped" in screen[-1] or "✗1" in screen[-1]
    assert "\x1b[0;1m\x1b[31m\x1b[49m✗" in painted or "\x1b[1m\x1b[31m✗" in painted
    if columns > 40:
        assert "tripped: retry" in screen[1]


def test_the_size_of_the_environment_is_not_taken_for_that_of_the_terminal(tmp_path):
    write_sessions(tmp_path, 3)
    script = f"{GOES_ON} | COLUMNS=200 LINES=2 trace-status --all >/dev/null"
    with terminal(tmp_path, 72, 12, script) as pane:
        screen = pane.shows("3 working").splitlines()
    assert "STATE" not in screen[0] and sum("–" in row for row in screen) == 3


def is_one_table(screen: str, columns: int, head: str) -> bool:
    lines = screen.splitlines()
    # The line above the totals is one cell shorter than the terminal.
    return len(lines) == 6 and head in lines[0] and lines[4] == "─" * (columns - 1)


def test_a_narrower_and_a_wider_terminal_show_one_table(tmp_path):
    write_sessions(tmp_path, 3)
    script = f"{GOES_ON} | trace-status --all --limit retry=5 >/dev/null"
    with terminal(tmp_path, 120, 20, script) as pane:
        pane.shows("3 working")
        for columns, head in ((60, "DOING"), (44, "DIRECTORY"), (120, "STATE")):
            pane.resize(columns, 20)
            until(lambda at=columns, head=head: is_one_table(pane.screen(), at, head))


def test_without_colour_and_unicode_the_marks_and_words_are_there(tmp_path):
    write_sessions(tmp_path, 3)
    script = f"{GOES_ON} | trace-status --all --limit retry=5 >/dev/null"
    with terminal(tmp_path, 80, 12, script, LC_ALL="C", LANG="C", NO_COLOR="1") as pane:
        screen = pane.shows("3 working")
        painted = pane.screen(colours=True)
    assert screen.isascii() and "> " in screen and "##....  40%" in screen
    assert "\x1b[3" not in painted and "\x1b[1" not in painted


def modes(pane: Terminal) -> str:
    """The settings of the pane's terminal."""
    tty = pane.tmux("list-panes", "-F", "#{pane_tty}").strip()
    return subprocess.run(["stty", "-F", tty, "-g"], capture_output=True, text=True).stdout


@pytest.mark.parametrize("way", ["q", "C-c", "TERM", "QUIT", "EPIPE", "end"])
def test_each_way_out_leaves_the_terminal_as_it_was(tmp_path, way):
    write_sessions(tmp_path, 3)
    (tmp_path / "go").touch()
    goes_on = "(cat events; echo $$ >pid; while [ -e go ]; do sleep 0.1; done; cat events)"
    reader = "(while [ -e go ]; do sleep 0.1; done)" if way == "EPIPE" else "cat >/dev/null"
    # A shell with job control gives the pipeline a process group of its own, in the foreground.
    script = f"set -m; {goes_on} | trace-status --all | {reader}"
    with terminal(tmp_path, 80, 12, script) as pane:
        pane.shows("3 working")
        until(lambda: "-icanon" in settings(pane), what="keys read one by one")
        if way in ("TERM", "QUIT"):
            pane.tmux("send-keys", "C-\\") if way == "QUIT" else kill_status(pane)
        elif way in ("q", "C-c"):
            pane.tmux("send-keys", way)
        else:
            (tmp_path / "go").unlink()
        until(lambda: "-icanon" not in settings(pane), what="the terminal's mode restored")
        (tmp_path / "go").unlink(missing_ok=True)
        screen = pane.shows("DONE").splitlines()
        assert " echo" in settings(pane) and "3 working" in "\n".join(screen)
        assert sum("DIRECTORY" in line for line in screen) == 1
        assert pane.tmux("list-panes", "-F", "#{cursor_flag} #{alternate_on}").split() == ["1", "0"]


def settings(pane: Terminal) -> str:
    tty = pane.tmux("list-panes", "-F", "#{pane_tty}").strip()
    return subprocess.run(["stty", "-F", tty, "-a"], capture_output=True, text=True).stdout


def kill_status(pane: Terminal) -> None:
    tty = pane.tmux("list-panes", "-F", "#{pane_tty}").strip().removeprefix("/dev/")
    found = subprocess.run(["pgrep", "-t", tty, "-f", "trace-status"], capture_output=True)
    for pid in found.stdout.split():
        os.kill(int(pid), 15)


def test_a_stopped_view_goes_on_below(tmp_path):
    write_sessions(tmp_path, 3)
    script = "bash --norc -i"
    with terminal(tmp_path, 80, 24, script) as pane:
        pane.shows("bash-")
        pane.tmux("send-keys", f"{GOES_ON} | trace-status --all >/dev/null", "Enter")
        pane.shows("3 working")
        until(lambda: "-icanon" in settings(pane), what="keys read one by one")
        pane.tmux("send-keys", "C-z")
        pane.shows("Stopped")
        assert " echo" in settings(pane)
        pane.tmux("send-keys", "fg", "Enter")
        until(lambda: pane.screen().count("3 working") == 2, what="the table drawn anew")
        until(lambda: "-icanon" in settings(pane), what="keys read one by one again")
        lines = pane.screen().splitlines()
        at = next(number for number, line in enumerate(lines) if "Stopped" in line)
        assert any("3 working" in line for line in lines[:at])
        pane.tmux("send-keys", "q")
        until(lambda: "-icanon" not in settings(pane), what="the terminal's mode restored")


def test_in_the_background_no_key_is_read(tmp_path):
    write_sessions(tmp_path, 3)
    script = "set -m; (cat events; sleep 5) | trace-status --all >/dev/null & sleep 60"
    with terminal(tmp_path, 80, 30, script) as pane:
        pane.shows("3 working")
        assert "-icanon" not in settings(pane)


def test_an_interrupt_leaves_the_line_and_a_terminal_that_can_be_used(tmp_path):
    (tmp_path / "events").write_bytes(Stream().spiral(4).bytes)
    script = f"{GOES_ON} | trace-status --limit retry=5 >/dev/null"
    with terminal(tmp_path, 60, 10, script) as pane:
        pane.shows("4 retries")
        pane.tmux("send-keys", "C-c")
        screen = pane.shows("DONE")
    assert "4 retries" in screen and screen.endswith("DONE")


def test_messages_of_other_programs_do_not_run_into_the_live_line(tmp_path):
    (tmp_path / "events").write_bytes(Stream().spiral(4).bytes)
    script = (
        "(cat events; sleep 1) | trace-status --limit retry=9 | trace-detect-retry --max 3"
        " | trace-alert >/dev/null"
    )
    with terminal(tmp_path, 100, 12, script) as pane:
        lines = pane.shows("DONE").splitlines()
    alerts = [text for text in lines if "RetryWatcher" in text]
    assert alerts and all(text.startswith("trace-alert: +0:") for text in alerts)
    assert all("retries" not in text or text.startswith("trace-status:") for text in lines)


def test_a_terminal_on_stdout_obeys_nothing_in_an_event(tmp_path):
    stream = Stream()
    stream.add("assistant_response", {"text": "a\u202eb\x9b31m"})
    (tmp_path / "events").write_bytes(
        stream.bytes.replace(b"\\u202e", "\u202e".encode()).replace(b"\\u009b", "\x9b".encode())
    )
    with terminal(tmp_path, 200, 12, "trace-detect-retry <events") as pane:
        screen = pane.shows("DONE")
    assert "a\\u202eb\\u009b31m" in screen


def test_q_ends_the_table_before_there_is_a_session(tmp_path):
    script = "trace-tail --all 2>/dev/null | trace-status --all >/dev/null; stty -a | grep -o -- '.echo '"
    home = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    with terminal(tmp_path, 80, 24, script, **home) as pane:
        pane.shows("no session yet (q or Ctrl-C ends this)")
        pane.tmux("send-keys", "q")
        shown = pane.shows("DONE")
    assert " echo" in shown and "-echo" not in shown
