"""Table of calls as HTML, with prompts and violations as rows in between."""

import json
from collections.abc import Iterator

from agent_pipes.commands.report_page.rounds import Loop
from agent_pipes.commands.report_page.sections import mark_name, mark_sign
from agent_pipes.commands.report_page.story import CallRow, Mark, Prompt, Story
from agent_pipes.commands.report_page.verdict import clean_message
from agent_pipes.commands.report_page.words import (
    clip,
    clip_bytes,
    clock,
    count,
    dollars,
    escape,
    span,
    subject,
)
from agent_pipes.core.display import truncate

MAX_PROMPT_CHARS = 300

MAX_DIFF_LINES = 40

RESULT_BYTES, ARGUMENT_BYTES = 700, 500
"""HTML bytes of a result and of all arguments of a call, in a session of few calls."""

ALL_RESULTS_BYTES, ALL_ARGUMENTS_BYTES, ALL_DIFFS_BYTES = 220_000, 90_000, 110_000
"""HTML bytes of all results, arguments and differences of a page, so that it opens at once."""

MIN_DETAIL_BYTES = 60
"""HTML bytes of one detail that a call keeps, however many calls there are."""


class CallsTable:
    """The table of calls, with prompts and violations as rows in between."""

    def __init__(self, story: Story, loop: Loop | None) -> None:
        self.story = story
        self.loop = loop
        share = max(1, len(story.calls))
        self.result_bytes = _share(RESULT_BYTES, ALL_RESULTS_BYTES, share)
        self.argument_bytes = _share(ARGUMENT_BYTES, ALL_ARGUMENTS_BYTES, share)
        edits = max(1, sum(bool(row.changes) for row in story.calls))
        self.diff_bytes = _share(MAX_DIFF_LINES * 200, ALL_DIFFS_BYTES, edits)
        self.round_of = {
            row.number: each for each in (loop.rounds if loop else ()) for row in each.calls
        }
        late = loop.late if loop else []
        self.folded = late[:-1] if len(late) > 2 else []
        self.trip = story.trip

    def html(self) -> str:
        """Return the section."""
        story = self.story
        total = count(len(story.calls), "call")
        chips = [("fail", "failed"), ("edit", "edits")] + [("late", "after the trip")] * bool(
            self.trip
        )
        buttons = "".join(
            f'<button type="button" aria-pressed="false" data-f="{key}">{text}</button>'
            for key, text in chips
        )
        heads = (
            ("", '<span class="vh">Number, opens the row</span>'),
            (" class=tm", "At"),
            (" class=tl", "Tool"),
            ("", "What"),
            (" class=oc", "Outcome"),
            (" class=tk", "Took"),
            (" class=us", "$"),
        )
        head = "".join(f'<th scope="col"{kind}>{name}</th>' for kind, name in heads)
        return (
            '<section class="wide" id="calls"><h2>Calls</h2>'
            '<form class="flt" role="search"><label for="q">Filter</label>'
            '<input id="q" type="search" placeholder="tool, file, error …" autocomplete="off" '
            'aria-describedby="keys"><span class="vh" id="keys">Keys: slash filters, '
            "Escape clears, j and k move between rows, Enter opens one</span>"
            f'<span class="chips">{buttons}</span>'
            f'<output id="cnt" for="q" aria-live="polite">{total}</output>'
            '<button type="button" class="lnk" id="all">open all</button></form>'
            f'<table class="calls"><thead><tr>{head}</tr></thead><tbody>{"".join(self._rows())}'
            f"</tbody>{self._foot()}</table></section>"
        )

    def _rows(self) -> Iterator[str]:
        story = self.story
        between: list[tuple[float, str]] = [
            (prompt.at, self._prompt_row(number, prompt))
            for number, prompt in enumerate(story.prompts, 1)
        ]
        between += [(mark.at, self._mark_row(mark)) for mark in story.marks]
        between.sort(key=lambda each: each[0])
        waiting = iter(between)
        following = next(waiting, None)
        for row in story.calls:
            while following and following[0] < row.at:
                yield following[1]
                following = next(waiting, None)
            if self.folded and row is self.folded[0].calls[0]:
                yield self._fold_row()
            yield self._row(row)
        while following:
            yield following[1]
            following = next(waiting, None)

    def _row(self, row: CallRow) -> str:
        story, number = self.story, row.number
        each = self.round_of.get(number)
        folded = " fd" * bool(each and each in self.folded)
        kinds = [row.state]
        if self.trip and row.at > self.trip.at:
            kinds.append("late")
        if row.changes:
            kinds.append("ed")
        if each:
            kinds.append("rr")
            kinds += ["rf"] * (row is each.calls[0]) + ["rl"] * (row is each.calls[-1])
        took = span(row.took) if row.took is not None else "–"
        usd = f"{row.usd:,.3f}" if row.usd is not None else ""
        at = clock(row.at, story.length)
        detail = f'<p class="meta">at {at}, took {took}</p>{"".join(self._details(row))}'
        return (
            f'<tr class="c {" ".join(kinds)}{folded}" id=c{number}>'
            f"<td class=n><button aria-expanded=false aria-controls=d{number}>{number}</button>"
            f"<td class=tm>{at}<td class=tl>{escape(clip(row.tool, 40))}"
            f"<td class=wh><div>{self._what(row)}</div>"
            f"<td class=oc>{row.outcome}<td class=tk>{took}<td class=us>{usd}"
            f'<tr class="det{folded}" id=d{number} hidden><td colspan=7><div>{detail}</div>\n'
        )

    def _what(self, row: CallRow) -> str:
        directory, main, remark = subject(row, self.story.cwd)
        who = ""
        if row.agent:
            agent = self.story.subagents[row.agent]
            kind, name = escape(truncate(agent.kind, 12)), escape(agent.name)
            who = f"<span class=who><span class=ty>{kind} </span>{name}</span>"
        if directory:
            text = (
                f"<code class=dir>{escape(clip(directory, 120))}</code>"
                f"<code class=base>{escape(main)}{escape(remark)}</code>"
            )
        else:
            text = f"<code class=one>{escape(main)}{escape(remark)}</code>"
        signs = ""
        if row.changes:
            pairs = [change.counts() for change in row.changes]
            added, removed = sum(a for a, _ in pairs), sum(r for _, r in pairs)
            signs = f" <span class=pm>+{added} −{removed}</span>"
        if row.overwritten:
            signs += " <span class=pm>overwritten</span>"
        return f"{who}{text}{signs}"

    def _details(self, row: CallRow) -> Iterator[str]:
        if row.changes:
            note = ""
            if row.overwritten:
                link = f'<a href="#c{row.overwritten}">{row.overwritten}</a>'
                note = f" <em>overwritten by call {link}</em>"
            yield f"<h3>Diff{note}</h3>{self._diff(row)}"
        if row.result and (row.state != "ok" or not row.changes):
            head = "Error" if row.state == "fail" else "Result"
            yield f"<h3>{head}</h3><pre>{escape(self._cut(row.result, self.result_bytes))}</pre>"
        shown = [text for change in row.changes for text in (change.removed, change.added)]
        rest = {
            key: value
            for key, value in row.arguments.items()
            if value not in shown and not (row.changes and key in ("input", "patch", "edits"))
        }
        if rest:
            room = max(MIN_DETAIL_BYTES, self.argument_bytes // len(rest))
            items = "".join(
                f"<dt>{escape(clip(str(key), 40))}<dd><pre>{escape(self._cut(value, room))}</pre>"
                for key, value in list(rest.items())[:12]
            )
            yield f"<h3>Arguments</h3><dl>{items}</dl>"

    def _cut(self, value: object, limit: int) -> str:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines = [clip(line, 400) for line in text[: 4 * limit].split("\n")]
        cut = clip_bytes("\n".join(lines), limit)
        return cut if cut == text else f"{cut.rstrip()} … ({len(text):,} characters)"

    def _diff(self, row: CallRow) -> str:
        kinds = {"-": ("dr", "−"), "+": ("da", "+"), " ": ("dc", " "), "@": ("dx", "⋯")}
        out: list[str] = []
        size = left_out = 0
        for change in row.changes:
            for sign, line in change.lines():
                if len(out) >= MAX_DIFF_LINES or size > self.diff_bytes:
                    left_out += 1
                    continue
                kind, shown = kinds[sign]
                out.append(f"<span class={kind}><i>{shown}</i>{escape(clip(line, 400))}</span>")
                size += len(out[-1].encode())
        if left_out:
            out.append(f"<span class=dx><i>⋯</i> {left_out:,} more lines</span>")
        return f'<pre class="diff">{"".join(out)}</pre>'

    def _prompt_row(self, number: int, prompt: Prompt) -> str:
        who = "you" if prompt.origin == "person" else escape(prompt.origin)
        text = escape(clip(" ".join(prompt.text.split()), MAX_PROMPT_CHARS))
        return (
            f'<tr class="sep" id=p{number} tabindex=-1><td colspan=7>'
            f"<span class=t>{clock(prompt.at, self.story.length)}</span><b>{who}</b> {text}\n"
        )

    def _mark_row(self, mark: Mark) -> str:
        message = escape(clip(clean_message(mark.message), 400))
        return (
            f'<tr class="sep {mark.level}" id=v{mark.letter} tabindex=-1><td colspan=7>'
            f"<span class=t>{clock(mark.at, self.story.length)}</span>{mark_sign(mark)} "
            f"<b>{mark_name(mark)}</b> {message}\n"
        )

    def _fold_row(self) -> str:
        first, last = self.folded[0], self.folded[-1]
        calls = sum(len(each.calls) for each in self.folded)
        usd = sum(each.usd for each in self.folded)
        cost = f" · {dollars(usd, self.story.estimated)}" * self.story.priced
        return (
            "<tr class=foldrow><td colspan=7>"
            f'<button id="fold" aria-expanded="true" aria-controls="calls">'
            f"rounds {first.number}–{last.number}</button> "
            f"<span>the same {count(len(first.calls), 'call')} each · {calls} calls{cost}</span>\n"
        )

    def _foot(self) -> str:
        story = self.story
        if not story.priced:
            return ""
        rows = (
            ("", "calls", story.usd_of_calls),
            ("", "answers without a call", story.usd - story.usd_of_calls),
            (" class=sum", "the session", story.usd),
        )
        return "<tfoot>{}</tfoot>".format(
            "".join(
                f"<tr{kind}><td colspan=6>{name}<td class=us>{usd:,.3f}" for kind, name, usd in rows
            )
        )


def _share(most: int, all_bytes: int, parts: int) -> int:
    return max(MIN_DETAIL_BYTES, min(most, all_bytes // parts))
