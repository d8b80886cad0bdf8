"""agent-strace man: the pages of this program, wherever they are."""

import os

from tests.helpers.support import ROOT, run


def test_the_pages_are_listed():
    done = run("agent-strace", "man")
    assert done.returncode == 0
    assert {line.split()[0] for line in done.stdout.decode().splitlines()} == {
        p.stem for p in (ROOT / "man").glob("*.[17]")
    }


def test_a_page_is_given_to_man(tmp_path):
    viewer = tmp_path / "man"
    viewer.write_text('#!/bin/sh\necho "shown: $1"\n')
    viewer.chmod(0o755)
    done = run("agent-strace man trace-tail", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.stdout.decode() == f"shown: {ROOT / 'man' / 'trace-tail.1'}\n"


def test_a_viewer_that_complains_while_its_output_is_no_terminal_is_not_heard(tmp_path):
    viewer = tmp_path / "man"
    viewer.write_text("#!/bin/sh\necho shown; echo 'warning: cannot break line' >&2\n")
    viewer.chmod(0o755)
    done = run("agent-strace man trace-tail", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert (done.stdout, done.stderr) == (b"shown\n", b"")


def test_a_page_that_is_none_and_a_machine_without_a_viewer(tmp_path):
    done = run("agent-strace", "man", "trace-tial")
    assert done.returncode == 2 and b"did you mean 'trace-tail'?" in done.stderr
    done = run("agent-strace", "man", "trace-tail", env={"PATH": str(tmp_path)})
    assert done.returncode == 2 and b"neither man nor mandoc is installed" in done.stderr
