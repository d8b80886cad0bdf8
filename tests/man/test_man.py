"""The man pages: well-formed, fit for 80 columns, and each example prints what the page shows."""

import shutil
import subprocess

import pytest

from tests.helpers.pages import PAGES, check, examples, examples_directory, files, missing

EXAMPLES = [
    pytest.param(page, block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(examples(page), 1)
]


@pytest.mark.parametrize("page, block", EXAMPLES)
def test_example(page, block, tmp_path):
    if tool := missing(block):
        pytest.skip(f"{tool} is not installed")
    check(block, examples_directory(tmp_path / "examples", page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
def test_is_well_formed(page):
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", str(page)], capture_output=True, text=True
    )
    assert done.stdout == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_tables_fit_80_columns(page):
    done = subprocess.run(
        ["groff", "-mdoc", "-Kutf8", "-Tutf8", "-rLL=78n", "-wbreak", str(page)],
        capture_output=True,
        text=True,
    )
    assert "can't break line" not in done.stderr


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.suffix == ".1"], ids=lambda page: page.name
)
def test_has_its_sections(page):
    text = page.read_text()
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "EXAMPLES", "SEE ALSO"):
        assert f".Sh {section}\n" in text, f"{page.name} has no {section}"
    assert examples(page), f"{page.name} has no example that runs"
    assert not files(page), f"{page.name} shows a file that no test looks at"
