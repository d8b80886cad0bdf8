"""The harness's matrix: each client, each scenario, started by `watch`, attached, and as a pipeline.

150 runs; one is chosen with `-k "codex-code and loop"`. A loaded machine needs REAL_LIMIT=150.
"""

import json
import os
import subprocess

import pytest

from tests.helpers.support import BIN, ENVIRONMENT
from tests.real.driving import RUN_AGENT, needs_a_client

pytestmark = [needs_a_client, pytest.mark.usefixtures("patience")]

SCENARIOS = ("spiral", "loop", "costly", "scope", "healthy", "parallel", "stall", "longtool")
WAYS = ("wrapped", "attached", "pipeline")
RUNS = [
    *((scenario, way) for scenario in SCENARIOS for way in WAYS),
    *((scenario, f"{way}:default") for scenario in ("spiral", "loop") for way in WAYS),
]

CLIENTS = {
    "claude": {},
    "codex": {},
    "codex-code": {"REAL_MODEL": "gpt-6.2-sol"},
    "gemini": {},
    "copilot": {},
}
"""Clients by label, and what the harness is told of each: Codex has a model with one tool."""


@pytest.fixture
def patience():
    """Allow for a client that is fetched first."""
    import signal

    signal.alarm(600)


@pytest.mark.parametrize("scenario, way", RUNS, ids=[f"{scenario}-{way}" for scenario, way in RUNS])
@pytest.mark.parametrize("label", CLIENTS)
def test_13_real_each_run_of_the_matrix_is_as_wanted(tmp_path, label, scenario, way):
    out = tmp_path / "rows.ndjson"
    environment = ENVIRONMENT | CLIENTS[label]
    environment |= {
        "RUNS": str(tmp_path),
        "LABEL": label,
        "LIMIT": os.environ.get("REAL_LIMIT", "45"),
        "PATH": f"{BIN}:{ENVIRONMENT['PATH']}",
    }
    matrix = RUN_AGENT.with_name("matrix")
    client = label.partition("-")[0]
    subprocess.run([matrix, out, client, scenario, way], env=environment, check=True)
    (row,) = map(json.loads, out.read_text().splitlines())
    assert row["good"], row
