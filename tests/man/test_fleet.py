"""agent-pipes-fleet(7): its files are well-formed, and the engine-free parts of it hold.

`make fleet` runs them with brokers, hosts and Spark.
"""

import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

import pytest

from agent_pipes.commands.backtest import read_limits, result_events, sessions_in
from agent_pipes.detect.backtest import judge_session
from tests.helpers.pages import ROOT, files
from tests.helpers.support import FIXTURES, run

PAGE = ROOT / "man" / "agent-pipes-fleet.7"
SCRIPT = FIXTURES / "spark_backtest.py"


def test_every_file_that_is_shown_is_tried():
    tried = "".join(path.read_text() for path in (ROOT / "tests" / "fleet").glob("test_*.py"))
    # The page's own example runs the last one.
    shown = set(files(PAGE)) - {"otlp.jq"}
    assert shown == set(re.findall(r'["\']([\w.]+\.(?:conf|sh|py|sql))["\']', tried)) - {
        SCRIPT.name
    }


@pytest.mark.parametrize("name", [name for name in files(PAGE) if name.endswith((".sh", ".py"))])
def test_programs_are_well_formed(name):
    text = files(PAGE)[name]
    if name.endswith(".py"):
        compile(text, name, "exec")
    else:
        subprocess.run(["sh", "-n"], input=text.encode(), check=True)


def test_any_engine_that_maps_gives_the_bytes_of_backtest(tmp_path):
    folder = tmp_path / "examples"
    run("agent-strace", "examples", str(folder))
    sessions = sessions_in([str(folder)])
    with ProcessPoolExecutor(2) as pool:
        judged = list(pool.map(judge_session, sessions, repeat(read_limits())))
    local = run("agent-strace", "backtest", str(folder), cwd=tmp_path)
    assert local.returncode == 0 and local.stdout.count(b"\n") > 30
    assert b"".join(event.raw for event in result_events(judged)) == local.stdout


def test_the_spark_script_is_twelve_lines_and_comes_with_the_examples(tmp_path):
    text = SCRIPT.read_text()
    assert len([line for line in text.splitlines() if line]) <= 12
    assert run("agent-strace", "examples", str(tmp_path / "x")).returncode == 0
    assert (tmp_path / "x" / SCRIPT.name).read_text() == text
    done = subprocess.run([sys.executable, "-m", "py_compile", str(tmp_path / "x" / SCRIPT.name)])
    assert done.returncode == 0
