"""The house: its rooms, and imports that go down only."""

import ast
import re
from pathlib import Path

import pytest

from agent_pipes.detect.registry import DETECTORS
from tests.helpers.support import ROOT, SCRIPTS

PACKAGE = ROOT / "agent_pipes"
EXAMPLES = PACKAGE / "data" / "examples"
"""Files that users copy: no part of the package, though some are Python."""

FLOORS = (
    {"commands"},
    {"checks"},
    {"hooks"},
    {"detect"},
    {"cost"},
    {"sessions"},
    {"agents", "scope"},
    {"alert"},
    {"shell", "process"},
    {"core"},
)
"""Rooms from the top floor down; a room imports from its own floor and those below."""

MAX_LINES = 400

UNFINISHED = {
    "agent_pipes.process.table",
    "agent_pipes.scope.file_programs",
    "agent_pipes.scope.globs",
    "agent_pipes.scope.policy",
    "agent_pipes.shell.word_lexer",
}
"""Faults that are still to be mended. Nothing is to be added here."""


def modules() -> dict[str, Path]:
    """Return the file of each module of the package."""
    found = {}
    for path in sorted(set(PACKAGE.rglob("*.py")) - set(EXAMPLES.rglob("*.py"))):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path
    return found


MODULES = modules()


def imports_of(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            while name and name not in MODULES:
                name = name.rpartition(".")[0]
            if name.startswith("agent_pipes"):
                found.add(name)
    return found


IMPORTS = {name: imports_of(path) - {name} for name, path in MODULES.items()}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def floor(module: str) -> int:
    return next((at for at, rooms in enumerate(FLOORS) if room(module) in rooms), len(FLOORS))


def test_the_rooms_are_those_of_the_design():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name[0] != "_"}
    assert rooms == {*set().union(*FLOORS), "data"}
    code = [path for path in MODULES.values() if PACKAGE / "data" in path.parents]
    assert code == [PACKAGE / "data" / "__init__.py"]


def test_imports_go_down_only():
    upward = {
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in others
        if room(name) and room(other) and floor(other) < floor(name)
    }
    assert upward - UNFINISHED == set()


def test_no_rooms_of_one_floor_import_each_other():
    arrows = {
        (room(name), room(other))
        for name, others in IMPORTS.items()
        for other in others
        if floor(name) == floor(other)
    }
    assert [(one, other) for one, other in arrows if one < other and (other, one) in arrows] == []


def test_no_files_import_each_other_in_a_circle():
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for other in sorted(IMPORTS[name]):
                visit(other, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


def test_no_file_is_longer_than_may_be_read():
    lengths = {name: path.read_text().count("\n") for name, path in MODULES.items()}
    long = {name: lines for name, lines in lengths.items() if lines > MAX_LINES}
    assert [f"{name}: {lines}" for name, lines in long.items() if name not in UNFINISHED] == []


@pytest.mark.parametrize("watcher", DETECTORS)
def test_a_detector_is_wherever_detectors_are(watcher):
    """Names the places that a new detector was not added to."""
    name = f"trace-detect-{watcher}"
    detector = DETECTORS[watcher]
    pages = {
        page: (ROOT / "man" / page).read_text() for page in ("agent-pipes.7", "agent-strace.1")
    }
    forgotten = {
        "[project.scripts] of pyproject.toml": name in SCRIPTS,
        "bin/": (ROOT / "bin" / name).exists(),
        "man/": (ROOT / "man" / f"{name}.1").exists(),
        "its registry name": detector.watcher == watcher,
        "thresholds for backtest": bool(detector.thresholds)
        or not any(option.name == "max" for option in detector.options),
        "README.md": name in (ROOT / "README.md").read_text(),
        **{
            page: re.search(rf"\b{name}\b", text.replace("\\-", "-").replace("\\", ""))
            for page, text in pages.items()
        },
    }
    assert [place for place, found in forgotten.items() if not found] == []
