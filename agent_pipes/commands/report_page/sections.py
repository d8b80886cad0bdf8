"""Sections of the page as HTML: key of the marks, rounds of a loop, errors by text."""

from agent_pipes.commands.report_page.rounds import ErrorGroup, Loop, Round
from agent_pipes.commands.report_page.story import CallRow, Mark, Story
from agent_pipes.commands.report_page.verdict import clean_message
from agent_pipes.commands.report_page.words import (
    clip,
    clock,
    count,
    dollars,
    escape,
    label,
    subject,
)

MAX_KEY_ROWS = 12
MAX_ERROR_GROUPS = 12
MAX_ERROR_LINKS = 7
MAX_ROUND_ROWS = 20
"""Rows beyond which a list ends with the number of those left out."""

MAX_ERROR_CHARS, MAX_ERROR_LINES = 170, 3


def mark_sign(mark: Mark) -> str:
    """Return the letter of a mark in its circle or square."""
    return f'<b class="mk {mark.level}">{mark.letter}</b>'


def mark_name(mark: Mark) -> str:
    """Return `warning: loop`, `tripped: cost`, `killed`."""
    if mark.level == "kill":
        return "kill"
    return f"{'warning' if mark.level == 'warning' else 'tripped'}: {escape(mark.watcher)}"


def key_of_marks(story: Story) -> str:
    """Return the list of violations below the picture."""
    rows = []
    for mark in story.marks[:MAX_KEY_ROWS]:
        spent = dollars(mark.usd, story.estimated)
        money = f'<span class="num">{spent} <small>spent by then</small></span>' * story.priced
        rows.append(
            f'<li>{mark_sign(mark)}<span class="t">{clock(mark.at, story.length)}</span>'
            f'<span><a href="#v{mark.letter}"><strong>{mark_name(mark)}</strong></a> '
            f"{escape(clip(clean_message(mark.message), 200))}</span>{money}</li>"
        )
    left_out = len(story.marks) - MAX_KEY_ROWS
    more = f'<p class="more">and {left_out:,} more in the table of calls</p>' * (left_out > 0)
    return f'<ol class="key">{"".join(rows)}</ol>{more}' if rows else ""


def rounds_section(story: Story, loop: Loop) -> str:
    """Return the table of rounds."""
    rounds = loop.rounds
    shown = rounds
    if len(rounds) > MAX_ROUND_ROWS:
        shown = rounds[: MAX_ROUND_ROWS - 2] + rounds[-1:]
    rows: list[str] = []
    cut = False
    for before, each in zip([None, *shown], shown, strict=False):
        if each.late and not cut:
            cut = True
            rows.append(f'<tr class="cutrow"><td colspan="6">{cut_text(story, loop)}</td></tr>')
        if before and each.number != before.number + 1:
            more = each.number - before.number - 1
            rows.append(f'<tr><td colspan="6" class="mut">{more} more rounds</td></tr>')
        rows.append(_round_row(story, each))
    heads = (
        ("Round", ""),
        ("At", " class=num"),
        ("What differs", ""),
        ("Result", ""),
        ("Cost", " class=num"),
        ("Calls", ""),
    )
    head = "".join(f'<th scope="col"{kind}>{name}</th>' for name, kind in heads)
    return (
        f"<section><h2>What was repeated</h2>{_rounds_lead(story, loop)}"
        f'<div class="sc"><table class="rounds"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _rounds_lead(story: Story, loop: Loop) -> str:
    first = loop.rounds[0]
    names = []
    for row in first.calls:
        directory, main, _ = subject(row, story.cwd)
        names.append(f"{escape(row.tool)} <code>{escape(clip(directory + main, 60))}</code>")
    if not loop.differing:
        differs = "Nothing differs between the rounds"
    elif len(loop.differing) == len(first.calls):
        differs = "Every call differs"
    else:
        tools = dict.fromkeys(first.calls[place].tool for place in loop.differing)
        differs = f"Only {' and '.join(map(escape, tools))} differs"
        if overwritten(loop):
            differs += "; each round overwrites the last"
    results = {each.result for each in loop.rounds[1:]}
    same = len(results) == 1 and next(iter(results)).startswith("same")
    outcome = f", and the {next(iter(results))[5:]} is the same every time" if same else ""
    times = count(len(loop.rounds), "time")
    return f'<p class="lead">{" → ".join(names)}, {times}. {differs}{outcome}.</p>'


def overwritten(loop: Loop) -> bool:
    """Return True if a later round replaces the edits of each round but the last."""
    edits = [row for each in loop.rounds[:-1] for row in each.calls if row.changes]
    return bool(edits) and all(row.overwritten for row in edits)


def cut_text(story: Story, loop: Loop) -> str:
    """Return where a breaker ends a loop, and what the rounds after that cost."""
    late = loop.late
    cost = dollars(sum(each.usd for each in late), story.estimated)
    below = f" · the {count(len(late), 'round')} below cost {cost}" if story.priced else ""
    return f"{loop.mark.letter} · a breaker ends the session here{below}"


def _round_row(story: Story, each: Round) -> str:
    old, new = each.differs
    differs = (
        f"<code><del>{escape(old)}</del> → <ins>{escape(new)}</ins></code>"
        if old or new
        else '<span class="mut">nothing</span>'
    )
    first, last = each.calls[0].number, each.calls[-1].number
    calls = str(first) if first == last else f"{first}–{last}"
    usd = f"${each.usd:,.3f}" if story.priced else "–"
    return (
        f'<tr id="r{each.number}"><th scope="row">{each.number}</th>'
        f'<td class="num">{clock(each.start, story.length)}</td><td>{differs}</td>'
        f'<td>{each.result}</td><td class="num">{usd}</td>'
        f'<td><a href="#c{first}">{calls}</a></td></tr>'
    )


def errors_section(groups: list[ErrorGroup]) -> str:
    """Return the list of errors, grouped by text."""
    items = []
    for group in groups[:MAX_ERROR_GROUPS]:
        lines = [line for line in group.text.splitlines() if line.strip()]
        text = "\n".join(lines[:MAX_ERROR_LINES]) + " …" * (len(lines) > MAX_ERROR_LINES)
        shown = escape(clip(text, MAX_ERROR_CHARS)) or '<span class="mut">no text</span>'
        tools = ", ".join(dict.fromkeys(escape(row.tool) for row in group.calls))
        state = group.calls[0].outcome
        why = "" if state == "failed" else f"{state} · "
        links = ", ".join(
            f'<a href="#c{row.number}">{row.number}</a>' for row in group.calls[:MAX_ERROR_LINKS]
        )
        left_out = len(group.calls) - MAX_ERROR_LINKS
        more = f" and {left_out:,} more" * (left_out > 0)
        word = "call" if len(group.calls) == 1 else "calls"
        items.append(
            f'<li><span class="big">{len(group.calls):,}×</span><div><code>{shown}</code>'
            f"<small>{why}{tools} · {word} {links}{more}</small></div></li>"
        )
    left_out = len(groups) - MAX_ERROR_GROUPS
    more = f'<p class="more">and {left_out:,} more kinds of error</p>' * (left_out > 0)
    head = "Errors, grouped" if len(groups[0].calls) > 1 else "Errors"
    return f'<section><h2>{head}</h2><ol class="errs">{"".join(items)}</ol>{more}</section>'


def call_names(rows: list[CallRow], story: Story) -> str:
    """Return the calls in one line of text."""
    return " → ".join(clip(label(row, story.cwd), 40) for row in rows)
