"""The report as some forty lines of text for a terminal."""

import textwrap
from collections.abc import Iterator

from agent_pipes.commands.report_page.rounds import Loop, find_loop, group_errors
from agent_pipes.commands.report_page.sections import call_names, cut_text
from agent_pipes.commands.report_page.story import Mark, Story
from agent_pipes.commands.report_page.verdict import (
    UNKNOWN_BREAKER,
    Breaker,
    clean_message,
    figures,
    saved_usd,
    stop_command,
    verdict,
)
from agent_pipes.commands.report_page.words import (
    agent_title,
    clip,
    clock,
    day,
    dollars,
    label,
    place,
    span,
    visible,
)

MAX_LINES, MAX_ROUNDS, MAX_MARKS = 40, 6, 6


def summary(story: Story, breaker: Breaker = UNKNOWN_BREAKER, width: int = 80) -> str:
    """Return what happened in a session, in the order of what mattered, in MAX_LINES lines."""
    loop = find_loop(story)
    lines: list[str] = []
    for part in (
        _head(story, loop, breaker, width),
        _figures(story, loop, breaker),
        _raised(story),
        _rounds(story, loop) if loop else (),
        _errors(story, width),
        _dearest(story),
        _prompts(story),
    ):
        found = [_fit(line, width) for line in part]
        if found and len(lines) + 2 < MAX_LINES:
            lines += [""] * bool(lines) + found
    return "\n".join(lines[:MAX_LINES]) + "\n"


def _head(story: Story, loop: Loop | None, breaker: Breaker, width: int) -> Iterator[str]:
    parts = [f"Session {story.session[:8]}", agent_title(story.agent), place(story)]
    parts += [day(story.start)] * bool(story.start)
    yield " · ".join(filter(None, parts))
    yield from textwrap.wrap("".join(text for _, text in verdict(story, loop, breaker)), width - 2)
    if story.trip and not story.kill:
        saved = f", which would have saved {saved_usd(story)}" if saved_usd(story) else ""
        yield f"What would have stopped it{saved}:"
        yield f"  {' '.join(stop_command(story, breaker))}"


def _figures(story: Story, loop: Loop | None, breaker: Breaker) -> Iterator[str]:
    for each in figures(story, loop, breaker):
        yield f"{each.label:15}{each.value:>12}  {each.remark}".rstrip()


def _raised(story: Story) -> Iterator[str]:
    if not story.marks:
        return
    yield "Raised"
    shown = story.marks[:MAX_MARKS]
    if story.kill and story.kill not in shown:
        shown[-1] = story.kill
    for mark in shown:
        spent = dollars(mark.usd, story.estimated) if story.priced else ""
        at = clock(mark.at, story.length)
        level = "tripped" if mark.critical else mark.level
        name = level if level == "kill" else f"{level} {mark.watcher}"
        yield f"  {at:>9}  {spent:>8}  {name}: {clean_message(mark.message)}{_limit(mark)}"
    if len(story.marks) > MAX_MARKS:
        yield f"  and {len(story.marks) - MAX_MARKS} more"


def _limit(mark: Mark) -> str:
    """Return ` (limit 3)` for a violation whose message does not name its limit."""
    limit = mark.data.get("limit")
    named = "(threshold" in mark.message or not isinstance(limit, (int, float))
    return "" if named else f" (limit {limit:g})"


def _rounds(story: Story, loop: Loop) -> Iterator[str]:
    yield f"Rounds: {call_names(loop.rounds[0].calls, story)}"
    rounds = loop.rounds
    shown = rounds if len(rounds) <= MAX_ROUNDS else [*rounds[: MAX_ROUNDS - 1], rounds[-1]]
    before = 0
    for each in shown:
        if each.number > before + 1:
            yield f"{'':21}…"
        if each.late and (not before or not rounds[before - 1].late):
            yield f"{'':21}— {cut_text(story, loop)}"
        before = each.number
        differs = " → ".join(each.differs) if any(each.differs) else "nothing differs"
        cost = f"${each.usd:,.3f}" if story.priced else ""
        at = clock(each.start, story.length)
        yield f"  {at:>9}  {cost:>8}  {each.number:>2}  {clip(differs, 50)}, {each.result}"


def _errors(story: Story, width: int) -> Iterator[str]:
    groups = group_errors(story)
    if not groups:
        return
    yield "Errors"
    for group in groups[:4]:
        more = ", …" if len(group.calls) > 4 else ""
        numbers = ", ".join(str(row.number) for row in group.calls[:4]) + more
        calls = f" ({'call' if len(group.calls) == 1 else 'calls'} {numbers})"
        text = " ".join(visible(group.text).split()) or group.calls[0].outcome
        yield f"  {len(group.calls):>3}×  {clip(text, width - 10 - len(calls))}{calls}"


def _dearest(story: Story) -> Iterator[str]:
    paid = sorted((row for row in story.calls if row.usd), key=lambda row: -(row.usd or 0.0))[:4]
    if paid:
        yield "Most expensive calls"
    for row in paid:
        took = span(row.took) if row.took is not None else "–"
        usd = dollars(row.usd or 0.0, story.estimated)
        yield f"  {usd:>8}  {row.number:>4}  {label(row, story.cwd)} ({row.outcome}, {took})"


def _prompts(story: Story) -> Iterator[str]:
    own = [prompt for prompt in story.prompts if prompt.origin == "person"]
    if own:
        yield "Prompts"
    for prompt in own[:4]:
        yield f"  {clock(prompt.at, story.length):>9}  {' '.join(prompt.text.split())}"


def _fit(line: str, width: int) -> str:
    return clip(visible(line).replace("\n", " "), max(width - 1, 20))
