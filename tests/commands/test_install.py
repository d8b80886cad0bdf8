"""The wheel: what it installs, and that it does there what it does in a checkout."""

import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import mkdtemp

import click
import pytest

from agent_pipes import __version__
from agent_pipes.commands.subcommands import SUBCOMMANDS
from tests.helpers.support import BIN, ENVIRONMENT, FIXTURES, ROOT, SCRIPTS

BACKEND = 77
"""The major version of setuptools that pyproject.toml asks for."""

NOT_TO_BE_HAD = (
    "No matching distribution",
    "Could not find a version",
    "Connection",
    "Temporary failure",
    "timed out",
)


def pip(*words: object, **more) -> subprocess.CompletedProcess:
    settings = {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_RETRIES": "0",
        "PIP_TIMEOUT": "10",
    }
    return subprocess.run(
        [sys.executable, "-m", "pip", *map(str, words)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT | settings,
        timeout=100,
        **more,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of the tree: a build leaves things lying about."""
    if not importlib.util.find_spec("pip"):
        pytest.skip("pip is not installed")
    tree = tmp_path_factory.mktemp("tree")
    for name in ("agent_pipes", "man"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    try:
        here = int(version("setuptools").split(".")[0]) >= BACKEND
    except PackageNotFoundError:
        here = False
    done = pip(
        "wheel",
        "--no-deps",
        *(["--no-build-isolation"] if here else []),
        "--wheel-dir",
        tree / "dist",
        tree,
    )
    if done.returncode and not here and any(each in done.stderr for each in NOT_TO_BE_HAD):
        pytest.skip(f"setuptools {BACKEND} is not installed, and cannot be fetched")
    assert done.returncode == 0, done.stderr
    (built,) = (tree / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def prefix(wheel, tmp_path_factory) -> Path:
    """A clean environment with the wheel, and the click and orjson of the tests."""
    folder = tmp_path_factory.mktemp("clean") / "prefix"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    done = pip("--python", folder / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    assert done.returncode == 0, done.stderr
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(f"{Path(click.__file__).parent.parent}\n")
    return folder


def outputs(folder: Path, script: str, where: Path) -> tuple[int, str, str]:
    """Return a shell line's output with the commands of `folder`, whose name is left out."""
    environment = ENVIRONMENT | {
        "PATH": f"{folder}:{ENVIRONMENT['PATH']}",
        "HOME": str(where),
        "CLAUDE_CONFIG_DIR": str(where),
        "CODEX_HOME": str(where),
        # A note once per directory is made for both.
        "XDG_STATE_HOME": mkdtemp(dir=where),
    }
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=where,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return (
        done.returncode,
        done.stdout.replace(str(folder), "BIN"),
        done.stderr.replace(str(folder), "BIN"),
    )


@pytest.fixture
def examples(tmp_path) -> Path:
    return Path(shutil.copytree(FIXTURES, tmp_path / "examples"))


def test_the_wheel_holds_what_is_ours_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "agent_pipes",
        f"agent_pipes-{__version__}.data",
        f"agent_pipes-{__version__}.dist-info",
    }
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "agent_pipes").rglob("*.py")}
    data = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "agent_pipes" / "data").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert {name for name in names if name.startswith("agent_pipes/")} == modules | data | {
        "agent_pipes/py.typed"
    }


def test_data_and_pages_are_in_place(prefix):
    (package,) = prefix.glob("lib/python*/site-packages/agent_pipes")
    assert (package / "data" / "prices.json").read_bytes() == (
        ROOT / "agent_pipes" / "data" / "prices.json"
    ).read_bytes()
    share = prefix / "share"
    places = {
        "man/man1": (ROOT / "man").glob("*.1"),
        "man/man7": (ROOT / "man").glob("*.7"),
    }
    for place, sources in places.items():
        there = {path.name: path.read_bytes() for path in (share / place).iterdir()}
        assert there and there == {path.name: path.read_bytes() for path in sources}, place


def test_every_command_is_there(prefix):
    there = {
        path.name
        for path in (prefix / "bin").iterdir()
        if re.match(r"trace-|agent-strace", path.name)
    }
    assert there == set(SCRIPTS)


HELP = [
    *(f"{name} --help" for name in SCRIPTS),
    *(f"agent-strace {name} --help" for name in SUBCOMMANDS),
]
PIPELINES = [
    "trace-tail --no-follow spiral.ndjson | trace-cost | trace-detect-retry --max 3 -e",
    "trace-tail --no-follow codex/rollout-0.169.jsonl",
    "trace-tail - <gemini/stream.jsonl | trace-detect-stall | trace-detect-duration --max 1s",
    "trace-detect-scope --policy scope.json <deploy.ndjson",
    "trace-cost --summary codex/rollout-0.169.jsonl copilot/stream.jsonl",
    "trace-detect-loop <looping.ndjson | trace-alert --to terminal",
    "agent-strace watch --no-follow --max-retries 3 -e spiral.ndjson",
    "agent-strace watch --explain --max-cost 5 --on-violation kill",
    "agent-strace watch -- sh -c 'exit 7'",
    "agent-strace setup --agent claude --guard",
    "trace-detect-loop --no-such-option",
    "_AGENT_STRACE_COMPLETE=bash_source agent-strace",
    "_TRACE_KILL_COMPLETE=fish_complete COMP_WORDS='trace-kill --s' COMP_CWORD=--s trace-kill",
]


def test_help_is_that_of_a_checkout(prefix, examples):
    script = "\n".join(HELP)
    installed = outputs(prefix / "bin", script, examples)
    assert installed == outputs(BIN, script, examples)
    assert installed[1].count("Usage: ") == len(HELP)


@pytest.mark.parametrize("script", PIPELINES)
def test_does_what_it_does_in_a_checkout(script, prefix, examples):
    installed = outputs(prefix / "bin", script, examples)
    assert installed == outputs(BIN, script, examples)
    assert installed[1] or installed[2]


def test_the_machine_is_found_in_order_from_there(prefix, examples):
    status, said, _ = outputs(prefix / "bin", "agent-strace doctor --json", examples)
    assert status == 0 and '"check": "kill", "status": "ok"' in said, said
