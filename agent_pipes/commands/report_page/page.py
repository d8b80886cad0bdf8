"""The report as one HTML page that needs no network and no file beside it."""

import re
from collections.abc import Iterator
from pathlib import Path

from agent_pipes.commands.report_page.calls_table import CallsTable
from agent_pipes.commands.report_page.picture import Picture
from agent_pipes.commands.report_page.rounds import Loop, find_loop, group_errors
from agent_pipes.commands.report_page.sections import errors_section, key_of_marks, rounds_section
from agent_pipes.commands.report_page.story import Story
from agent_pipes.commands.report_page.verdict import (
    UNKNOWN_BREAKER,
    Breaker,
    Piece,
    figures,
    saved_usd,
    stop_command,
    verdict,
)
from agent_pipes.commands.report_page.words import agent_title, count, day, escape, place

DATA = Path(__file__).parents[2] / "data"
CSP = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

LEGEND = (
    ("ok", "ok", '<rect class="k-ok" x="3" y="5" width="4" height="12"/>'),
    ("fail", "failed, taller", '<rect class="k-fail" x="3" y="0" width="4" height="22"/>'),
    ("cut", "not run, hollow", '<rect class="k-cut" x="2.5" y="5.5" width="5" height="11"/>'),
)
"""Marks of the picture: the state they stand for, a word, and the drawing."""


def page(story: Story, breaker: Breaker = UNKNOWN_BREAKER) -> str:
    """Return the page of a session."""
    loop = find_loop(story)
    pieces = verdict(story, loop, breaker)
    title = f"Session {story.session[:8]}: {''.join(text for _, text in pieces)}"
    body = [
        '<a class="skip" href="#calls">Skip to the table of calls</a><main>',
        f'<header><p class="eye">{_eyebrow(story)}</p><h1>{_sentence(pieces)}</h1>',
        _stop(story, stop_command(story, breaker)) if story.trip and not story.kill else "",
        "</header>",
        f'<dl class="figs">{"".join(_figures(story, loop, breaker))}</dl>',
        _picture(story, loop) if story.calls or story.curve else "",
        rounds_section(story, loop) if loop else "",
        errors_section(groups) if (groups := group_errors(story)) else "",
        CallsTable(story, loop).html(),
        f"<footer><p>Made by trace-report from {count(story.events, 'event')}.{_notes(story)} "
        "Text from the agent is never run as HTML; long results are cut.</p></footer></main>",
    ]
    style, script = _data("report.css"), _data("report.js")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<meta http-equiv="Content-Security-Policy" content="{CSP}">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f"{''.join(body)}<script>{script}</script></body></html>\n"
    )


def _data(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


def _eyebrow(story: Story) -> str:
    parts = [f"Session {story.session[:8]}", agent_title(story.agent), place(story)]
    if story.start:
        parts.append(day(story.start))
    return " ".join(f"<span>{escape(part)}</span>" for part in parts if part)


def _sentence(pieces: list[Piece]) -> str:
    tags = {"": "{}", "b": "<b>{}</b>", "hot": '<b class="hot">{}</b>'}
    return "".join(tags[style].format(_unbroken(escape(text))) for style, text in pieces)


def _unbroken(text: str) -> str:
    text = text.replace(" →", "\u00a0→").replace(" × ", "\u00a0×\u00a0")
    return re.sub(r"(\d) (?=(?:ms|s|min|h|d)\b)", "\\1\u00a0", text)


def _stop(story: Story, words: list[str]) -> str:
    parts = " ".join(f"<span>{escape(word)}</span>" for word in words)
    saved = f", and saved {saved_usd(story)}" if saved_usd(story) else ""
    label = f"<span>What would have stopped it{saved}</span>"
    return f'<p class="stop">{label}<code tabindex="0">{parts}</code></p>'


def _figures(story: Story, loop: Loop | None, breaker: Breaker) -> Iterator[str]:
    for each in figures(story, loop, breaker):
        hot = ' class="hot"' if each.hot else ""
        yield (
            f"<div{hot}><dt>{each.label}</dt><dd>{escape(each.value)}"
            f"<small>{escape(each.remark)}</small></dd></div>"
        )


def _picture(story: Story, loop: Loop | None) -> str:
    states = {row.state for row in story.calls}
    marks = [
        f'<span><svg width="10" height="22" aria-hidden="true">{drawing}</svg>{word}</span>'
        for state, word, drawing in LEGEND
        if state in states
    ]
    if story.gaps:
        marks.append(f"<span>{_box('fold', 22, 14)}no event, folded</span>")
    if story.trip and story.usd_after_trip > 0:
        marks.append(f"<span>{_box('aft2', 18, 12)}spent after the trip</span>")
    head = "Dollars and calls over time" if story.curve else "Calls over time"
    picture = Picture(story, loop).html()
    return (
        f'<section class="wide"><h2>{head}</h2><p class="legend">{"".join(marks)}</p>'
        f"{picture}{key_of_marks(story)}</section>"
    )


def _box(kind: str, width: int, height: int) -> str:
    size = f'width="{width}" height="{height}"'
    return f'<svg {size} aria-hidden="true"><rect class="{kind}" {size}/></svg>'


def _notes(story: Story) -> str:
    notes = ""
    if story.estimated:
        notes += " ~ marks a sum that contains an estimate."
    if story.unpriced:
        notes += (
            f" {count(story.unpriced, 'response')} of a model without a known price count as $0."
        )
    if not story.priced:
        notes += " No response carries a cost: put trace-cost before trace-report."
    return notes
