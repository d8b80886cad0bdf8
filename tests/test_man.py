"""The man pages: well-formed, and every example in them does what stands there."""

import re
import shutil
import subprocess

import pytest
from support import BIN, ENVIRONMENT, FIXTURES, ROOT

PAGES = sorted((ROOT / "man").glob("*.[17]"))


def examples(page):
    """Each literal block of the page's EXAMPLES: what is typed, and what then stands on stdout."""
    text = page.read_text()
    section = re.search(r"^\.Sh EXAMPLES\n(.*?)(?=^\.Sh |\Z)", text, re.S | re.M)
    for block in re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed", section.group(1) if section else "", re.S | re.M):
        yield block.replace("\\e", "\\").replace("\\-", "-").replace("\\(aq", "'").replace("\\&", "").replace("\\(dq", '"')


def parts(block: str) -> list[tuple[str, list[str]]]:
    """(command, expected lines) of a block: `$ ` begins a command, a backslash at its end continues it."""
    found: list[tuple[str, list[str]]] = []
    continued = False
    for line in block.splitlines():
        if continued:
            found[-1] = (found[-1][0] + "\n" + line.removeprefix("> "), [])
        elif line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
        continued = (line.startswith("$ ") or continued) and line.endswith(("\\", "|"))
    return found


EXAMPLES = [pytest.param(block, id=f"{page.name}-{number}") for page in PAGES for number, block in enumerate(examples(page), 1)]


@pytest.mark.parametrize("block", EXAMPLES)
def test_example(block, tmp_path):
    if re.search(r"\bjq\b", block) and not shutil.which("jq"):
        pytest.skip("jq is not installed")
    folder = tmp_path / "examples"
    shutil.copytree(FIXTURES, folder)
    marks = [f"=== {number} ===" for number in range(len(parts(block)))]
    script = "\n".join(f"echo '{mark}'\n(exit $status)\n{command}\nstatus=$?" for mark, (command, _) in zip(marks, parts(block), strict=True))
    environment = ENVIRONMENT | {"PATH": f"{BIN}:{ENVIRONMENT['PATH']}", "HOME": str(folder), "CLAUDE_CONFIG_DIR": str(folder / "claude-home")}
    done = subprocess.run(["bash", "-c", "status=0\n" + script], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    outputs = re.split(r"^=== \d+ ===\n", done.stdout, flags=re.M)[1:]
    for (command, expected), output in zip(parts(block), outputs, strict=True):
        pattern = "".join(r"(?:.*\n)*?" if line == "..." else re.escape(line) + "\n" for line in expected)
        assert re.fullmatch(pattern, output), f"$ {command}\n{output}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
def test_is_well_formed(page):
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(page)], capture_output=True, text=True)
    assert done.stdout == ""


@pytest.mark.parametrize("page", [page for page in PAGES if page.suffix == ".1"], ids=lambda page: page.name)
def test_has_its_sections(page):
    text = page.read_text()
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "EXAMPLES", "SEE ALSO"):
        assert f".Sh {section}\n" in text, f"{page.name} has no {section}"
    assert list(examples(page)), f"{page.name} has no example that runs"
