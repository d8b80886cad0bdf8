"""The page in a real browser: no error, no overlap, filter, keys, marks, hostile text."""

from pathlib import Path

import pytest

from tests.commands.test_report import loop_events, page_of
from tests.helpers.browser import CHROMIUM, DRIVER, Browser
from tests.helpers.support import SHARED, Stream, run

LONG = SHARED / "sessions" / "claude-code" / "opus46-1h-a.jsonl"
FANOUT = SHARED / "cases" / "reports" / "05-claude-fanout.jsonl"

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium here")

EVERY_SCREEN = pytest.mark.parametrize(
    "width, dark", [(360, False), (360, True), (1600, False), (1600, True)]
)


def check_layout(browser: Browser, width: int, dark: bool) -> None:
    """Nothing on the console, no overlap, no scrolling sideways, the scheme's own background."""
    assert browser.errors() == []
    background = browser.script("return getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(19, 20, 22)" if dark else "rgb(255, 255, 255)")
    assert browser.script("return document.documentElement.scrollWidth") <= width
    assert browser.script(OVERLAPS) == []


@EVERY_SCREEN
def test_a_loop_is_filtered_and_opened_from_a_mark(tmp_path, width, dark):
    page = tmp_path / "page.html"
    page.write_text(page_of(loop_events(rounds=6)))
    with Browser(tmp_path, width, dark) as browser:
        browser.open(page)
        check_layout(browser, width, dark)
        browser.click(".pic a.fail")
        assert browser.script("return location.hash") == "#c3"
        assert browser.script("return document.querySelector('#d3').hidden") is False
        assert "AssertionError" in browser.script("return document.querySelector('#d3').innerText")
        browser.click(".key li:last-child a")
        assert browser.script("return document.activeElement.id") == "vC"
        # A row that is folded is shown when a link leads to it.
        browser.open(page, "#c14")
        assert browser.script("return !!document.querySelector('#c14').offsetParent")
        browser.type("#q", "bash")
        found = browser.script("return document.querySelector('#cnt').textContent")
        assert found == "6 of 18 calls" and browser.script(SHOWN_ROWS) == 6
        browser.click("[data-f=late]")
        assert browser.script(SHOWN_ROWS) == 3
        check_layout(browser, width, dark)


def test_keys_filter_move_and_open(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(page_of(loop_events(rounds=2)))
    with Browser(tmp_path, 800) as browser:
        browser.open(page)
        browser.type("body", "/edit")
        assert browser.script("return document.querySelector('#q').value") == "edit"
        assert browser.script(SHOWN_ROWS) == 2
        browser.type("#q", "\ue00c")
        assert browser.script(SHOWN_ROWS) == 6
        browser.script("document.activeElement.blur()")
        for key, row in (("j", "c1"), ("j", "c2"), ("k", "c1")):
            browser.type(":focus" if row != "c1" or key == "k" else "body", key)
            assert browser.script("return document.activeElement.closest('tr').id") == row
        browser.type(":focus", "\ue007")
        assert browser.script("return document.querySelector('#d1').hidden") is False
        assert browser.script("return document.activeElement.ariaExpanded") == "true"
        names = browser.script(UNNAMED)
        assert names == []


@EVERY_SCREEN
@pytest.mark.skipif(not SHARED.exists(), reason="no recorded sessions here")
@pytest.mark.parametrize("session", [LONG, FANOUT], ids=["long", "fanout"])
def test_recorded_sessions_have_no_overlap(tmp_path, session, width, dark):
    page = tmp_path / "page.html"
    done = run("agent-strace", "report", session, "--output", page, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Browser(tmp_path, width, dark) as browser:
        browser.open(page)
        check_layout(browser, width, dark)


EVIL = (
    "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
    "\u202egnp.exe\x1b[31m\u2066]]></pre>"
)


@EVERY_SCREEN
def test_what_an_agent_wrote_is_shown_as_text(tmp_path: Path, width, dark):
    stream = Stream()
    stream.add("session_start", {"agent": EVIL, "cwd": f"/{EVIL}", "model": EVIL})
    stream.add("user_prompt", {"prompt": EVIL})
    stream.bash(EVIL, EVIL * 100_000, failed=True)
    stream.call("Edit", {"file_path": EVIL, "old_string": EVIL, "new_string": "x" * 5000}, "ok")
    stream.call("W" * 500, {EVIL: EVIL * 1000}, EVIL)
    stream.add("violation", {"watcher": "retry", "level": "critical", "message": EVIL * 20})
    page = tmp_path / "page.html"
    page.write_text(page_of(stream.bytes))
    assert page.stat().st_size < 100_000
    with Browser(tmp_path, width, dark) as browser:
        browser.open(page, "#c1")
        assert browser.script("return document.title").startswith("Session")
        shown = browser.script("return document.querySelector('#d1').innerText")
        assert EVIL[:40] in shown and "‹202E›gnp.exe‹001B›[31m‹2066›" in shown
        browser.click("#all")
        check_layout(browser, width, dark)


def test_without_a_script_all_rows_are_there_and_print_shows_them(tmp_path):
    page = tmp_path / "page.html"
    text = page_of(loop_events(rounds=6))
    start, end = text.index("<script>"), text.index("</script>")
    page.write_text(text[:start] + text[end:])
    with Browser(tmp_path, 800) as browser:
        browser.open(page)
        assert browser.script(SHOWN_ROWS) == 18
    page.write_text(text)
    with Browser(tmp_path, 800) as browser:
        browser.open(page)
        assert browser.script(SHOWN_ROWS) < 18
        browser.emulate_print()
        assert browser.script(SHOWN_ROWS) == 18
        assert browser.script("return document.querySelector('.flt').offsetParent") is None


SHOWN_ROWS = "return [...document.querySelectorAll('tr.c')].filter(r => r.offsetParent).length"

UNNAMED = """
return [...document.querySelectorAll('button, a, input, table, svg[role]')]
  .filter(e => !e.closest('[aria-hidden=true]') && e.offsetParent)
  .filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels && e.labels.length))
  .map(e => e.outerHTML.slice(0, 80));
"""

OVERLAPS = """
const boxes = [...document.querySelectorAll('h1, h2, .eye span, .stop, .figs dd, .figs dt,' +
  '.legend span, .key li, .rounds td, .errs li, .flt > *, .ll, .pic text.xl, .pic text.fl,' +
  '.pic text.yl, .m text, .c td, .sep td, tfoot td')]
  .map(e => [e, e.getBoundingClientRect()]).filter(([, r]) => r.width && r.height);
const out = [];
boxes.sort(([, p], [, q]) => p.top - q.top);
for (let i = 0; i < boxes.length; i++) {
  const [a, p] = boxes[i];
  if (p.right > innerWidth + 1) out.push('beyond the edge: ' + a.textContent.slice(0, 40));
  for (let j = i + 1; j < boxes.length && boxes[j][1].top < p.bottom - 1; j++) {
    const [b, q] = boxes[j];
    if (!a.contains(b) && !b.contains(a) && p.left < q.right - 1 && q.left < p.right - 1
        && getComputedStyle(a.closest('.flt') || a).position !== 'sticky'
        && getComputedStyle(b.closest('.flt') || b).position !== 'sticky')
      out.push(a.textContent.slice(0, 40) + ' / ' + b.textContent.slice(0, 40));
  }
}
return out.slice(0, 9);
"""
