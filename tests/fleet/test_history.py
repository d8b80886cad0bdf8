"""Years of sessions: Spark gives the bytes of the local run, DuckDB a table."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet.conftest import FIGURES, needs, shown
from tests.helpers.support import FIXTURES, run

SLOW = 500.0


@pytest.fixture
def sessions(tmp_path):
    """The example sessions, and the script beside them."""
    folder = tmp_path / "examples"
    assert run("agent-strace", "examples", str(folder)).returncode == 0
    return folder


@needs("java")
def test_spark_writes_the_bytes_of_the_local_run(sessions, programs):
    pytest.importorskip("pyspark")
    local = run("agent-strace", "backtest", str(sessions), cwd=sessions)
    assert local.returncode == 0 and local.stdout.count(b"\n") > 30
    submit = Path(sys.executable).with_name("spark-submit")
    found = sessions / "spark.ndjson"
    with found.open("wb") as file:
        done = programs.start(
            submit,
            "--master",
            "local-cluster[2,1,1024]",
            "spark_backtest.py",
            str(sessions),
            stdout=file,
            cwd=sessions,
            env={"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable},
        )
        assert done.wait(SLOW) == 0
    assert found.read_bytes() == local.stdout
    lines = local.stdout.count(b"\n")
    FIGURES.append(
        f"Spark, local-cluster[2,1,1024]: the same {lines} lines as agent-strace backtest"
    )


def test_duckdb_makes_a_table_of_events(sessions):
    duckdb = pytest.importorskip("duckdb")
    events = run("trace-tail", "--no-follow", "--host-name", "ha", "spiral.ndjson", cwd=FIXTURES)
    (sessions / "events.ndjson").write_bytes(events.stdout)
    statement = shown("parquet.sql").partition("\n")[2].replace("'events.", f"'{sessions}/events.")
    duckdb.sql(statement)
    found = duckdb.sql(
        f"SELECT host, count(*), count(DISTINCT session_id) FROM '{sessions}/events.parquet' GROUP BY 1"
    ).fetchall()
    assert found == [("ha", events.stdout.count(b"\n"), 1)]
    ((tokens,),) = duckdb.sql(
        f"SELECT sum((data->'usage'->>'output_tokens')::INT) FROM '{sessions}/events.parquet'"
    ).fetchall()
    assert tokens > 0


@pytest.mark.skipif(not shutil.which("duckdb"), reason="duckdb not installed")
def test_the_recipe_is_two_commands(sessions):
    (sessions / "events.ndjson").write_bytes((FIXTURES / "spiral.ndjson").read_bytes())
    sql = shown("parquet.sql").partition("\n")[2].encode()
    subprocess.run(["duckdb"], input=sql, cwd=sessions, check=True, timeout=60)
    assert (sessions / "events.parquet").exists()
