"""Picture of a session as SVG: dollars over time, calls in lanes, violations as marks.

x is in per cent and y in pixels, so that text keeps its size at every width without a script;
only the curve lies in an inner viewBox that is stretched.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from agent_pipes.agents.tools import kind_of
from agent_pipes.commands.report_page.rounds import Loop, Round
from agent_pipes.commands.report_page.scale import Scale, dollar_lines
from agent_pipes.commands.report_page.story import CallRow, Mark, Story
from agent_pipes.commands.report_page.verdict import MIN_SHOWN_USD, clean_message, money_limit
from agent_pipes.commands.report_page.words import clip, dollars, escape, label, span
from agent_pipes.core.display import truncate

CURVE_TOP_PX, CURVE_BASE_PX = 26, 184
LANE_PX, BRACKETS_PX, AXIS_PX = 46, 34, 26
"""Heights: the curve between two lines, a lane, the row of brackets, the axis below."""

MAX_LANES = 6
"""Subagents with a lane of their own; the others share one."""

MAX_DRAWN_MARKS = 26
MAX_LINKED_CALLS = 400
"""Calls up to which every bar is a link with a title; beyond, only those that failed."""

MIN_MARK_DISTANCE, MARK_PX = 3.2, 20
"""Marks closer than this (per cent) are drawn side by side, so many pixels apart."""

MAX_BRACKETS = 20
"""Rounds that all have a bracket; beyond, the first three, the last, and one between."""


@dataclass(slots=True)
class Lane:
    """A row of the picture: whose calls it has, its name, and the height of its middle."""

    agents: frozenset[str]
    name: str
    remark: str
    y: int


class Picture:
    """Draws one session."""

    def __init__(self, story: Story, loop: Loop | None) -> None:
        self.story = story
        self.loop = loop
        self.scale = Scale(story.length, story.gaps)
        self.top = CURVE_BASE_PX if story.curve else CURVE_TOP_PX
        self.lanes = list(self._lanes())
        lanes_end = self.top + 38 + LANE_PX * (len(self.lanes) + bool(self._has_user_lane))
        self.brackets = lanes_end if loop else 0
        self.axis = lanes_end + (BRACKETS_PX if loop else 0)

    def html(self) -> str:
        """Return the picture and the names of its lanes."""
        svg = "".join(
            part
            for draw in (
                self._folds,
                self._grid,
                self._curve,
                self._bars,
                self._user_lane,
                self._round_brackets,
                self._axis_labels,
                self._marks,
            )
            for part in draw()
        )
        aria = "Dollars over time, and the calls in lanes; the table of calls has the same as text"
        return (
            f'<div class="plot">{"".join(self._names())}'
            f'<svg class="pic" height="{self.axis + AXIS_PX}" role="group" aria-label="{aria}">'
            f"{svg}</svg></div>"
        )

    @property
    def _has_user_lane(self) -> bool:
        return bool(self.story.waits or len(self.story.prompts) > 1)

    def _lanes(self) -> Iterator[Lane]:
        y = self.top + 61
        yield Lane(frozenset({""}), "agent", "", y)
        agents = sorted(self.story.subagents.values(), key=lambda each: each.start)
        if len(agents) > MAX_LANES:
            dear = {each.id for each in sorted(agents, key=lambda each: -each.usd)[:MAX_LANES]}
            others = [each for each in agents if each.id not in dear]
            agents = [each for each in agents if each.id in dear]
        else:
            others = []
        for each in agents:
            y += LANE_PX
            yield Lane(frozenset({each.id}), truncate(each.kind, 12), each.name, y)
        if others:
            y += LANE_PX
            yield Lane(frozenset(each.id for each in others), f"{len(others)} others", "", y)

    def _names(self) -> Iterator[str]:
        if self.story.curve:
            yield f'<span class="ll money" style="top:{CURVE_TOP_PX}px">dollars</span>'
        for lane in self.lanes:
            kind = f'<span class="ty">{escape(lane.name)}</span> ' if lane.remark else ""
            name = f"{kind}<span>{escape(lane.remark or lane.name)}</span>"
            yield f'<span class="ll lane" style="top:{lane.y - 23}px">{name}</span>'
        if self._has_user_lane:
            yield f'<span class="ll lane" style="top:{self._user_y - 23}px">you</span>'
        if self.loop:
            text = f"{len(self.loop.rounds)} rounds"
            style = f"top:{self.brackets - 6}px"
            yield f'<span class="ll lane rounds-name" style="{style}">{text}</span>'

    @property
    def _user_y(self) -> int:
        return self.lanes[-1].y + LANE_PX

    def _folds(self) -> Iterator[str]:
        height = self.axis - CURVE_TOP_PX
        for each in self.scale.folds:
            width = each.right - each.left
            yield (
                f'<rect class="fold" x="{each.left:.3f}%" y="{CURVE_TOP_PX}" '
                f'width="{width:.3f}%" height="{height}"/>'
            )

    def _height(self, usd: float) -> float:
        """Return the y of a sum in dollars."""
        share = usd / self._most if self._most else 0.0
        return CURVE_BASE_PX - share * (CURVE_BASE_PX - CURVE_TOP_PX)

    @property
    def _most(self) -> float:
        return dollar_lines(max(usd for _, usd in self.story.curve))[-1]

    def _grid(self) -> Iterator[str]:
        if not self.story.curve:
            return
        yield _line("grid base", "0", "100%", CURVE_BASE_PX, CURVE_BASE_PX)
        lines = dollar_lines(max(usd for _, usd in self.story.curve))
        for usd in lines:
            y = self._height(usd)
            text = money_limit(usd) if lines[0] >= 0.01 else f"${usd:.{3 + (lines[0] < 0.001)}f}"
            yield _line("grid", "0", "100%", y, y)
            yield f'<text class="yl" x="0" y="{y - 4:.1f}">{text}</text>'
        limits = [
            mark.data["limit"]
            for mark in self.story.marks
            if mark.watcher == "cost" and isinstance(mark.data.get("limit"), (int, float))
        ]
        if limits and 0 < limits[0] <= lines[-1]:
            y = self._height(limits[0])
            yield _line("lim", "0", "100%", y, y)
            text = f"limit {money_limit(limits[0])}"
            yield f'<text class="yl lt" x="100%" y="{y - 5:.1f}" text-anchor="end">{text}</text>'

    def _curve(self) -> Iterator[str]:
        if not self.story.curve:
            return
        points = [(0.0, 0.0)]
        for at, usd in self.story.curve:
            x = self.scale.x(at) * 10
            if x - points[-1][0] < 0.4 and len(points) > 1:
                points[-1] = (points[-1][0], usd)
            else:
                points.append((x, usd))
        points.append((1000.0, points[-1][1]))
        trip = self.story.trip
        cut = self.scale.x(trip.at) * 10 if trip else 1000.0
        before = [point for point in points if point[0] <= cut]
        after = [(cut, before[-1][1]), *(point for point in points if point[0] > cut)]
        size = f'width="100%" height="{CURVE_BASE_PX}" viewBox="0 0 1000 {CURVE_BASE_PX}"'
        yield f'<svg x="0" y="0" {size} preserveAspectRatio="none">'
        if trip and len(after) > 1 and self.story.usd_after_trip >= MIN_SHOWN_USD:
            path = self._steps(after)
            yield f'<path class="area" d="{path}V{CURVE_BASE_PX}H{cut:.2f}Z"/>'
            yield f'<path class="curve" d="{self._steps([*before, after[0]])}"/>'
            yield f'<path class="curve hot" d="{path}"/>'
        else:
            yield f'<path class="curve" d="{self._steps(points)}"/>'
        yield "</svg>"

    def _steps(self, points: list[tuple[float, float]]) -> str:
        first, *rest = points
        path = f"M{first[0]:.2f} {self._height(first[1]):.2f}"
        return path + "".join(f"H{x:.2f}V{self._height(usd):.2f}" for x, usd in rest)

    def _bars(self) -> Iterator[str]:
        rows = self.story.calls
        thick = "4px" if len(rows) < 60 else "3.5px"
        for lane in self.lanes:
            mine = [row for row in rows if row.agent in lane.agents]
            start = min((row.at for row in mine), default=0.0)
            end = max((row.end for row in mine), default=self.story.length)
            if "" in lane.agents:
                start, end = 0.0, self.story.length
            left, right = f"{self.scale.x(start):.3f}%", f"{self.scale.x(end):.3f}%"
            yield _line("span", left, right, lane.y, lane.y)
            for row in mine:
                yield self._bar(row, lane.y, thick, linked=len(rows) <= MAX_LINKED_CALLS)

    def _bar(self, row: CallRow, y: int, thick: str, linked: bool) -> str:
        left = self.scale.x(row.at)
        # A subagent's own lane has its time, and one that waits for its user is no work.
        long = not (row.subagent or kind_of(row.tool) == "ask")
        width = self.scale.x(row.end) - left if long else 0.0
        half = 13 if row.state == "fail" else 6
        rect = (
            f'<rect x="{left:.3f}%" y="{y - half}" height="{2 * half}" '
            f'style="width:max({thick},{width:.2f}%)"/>'
        )
        if not linked and row.state == "ok":
            return f'<g class="ok">{rect}</g>'
        took = f", {span(row.took)}" if row.took is not None else ""
        title = escape(clip(label(row, self.story.cwd), 80))
        return (
            f'<a href="#c{row.number}" tabindex="-1" aria-hidden="true" class="{row.state}">{rect}'
            f"<title>{row.number} {title}: {row.outcome}{took}</title></a>"
        )

    def _user_lane(self) -> Iterator[str]:
        if not self._has_user_lane:
            return
        y = self._user_y
        yield _line("span", "0", "100%", y, y)
        for start, end in self.story.waits:
            left, right = self.scale.x(start), self.scale.x(end)
            if right - left > 0.6:
                yield (
                    f'<rect class="wait" x="{left:.3f}%" y="{y - 5}" '
                    f'width="{right - left:.3f}%" height="10" rx="2"/>'
                )
        for number, prompt in enumerate(self.story.prompts, 1):
            if prompt.origin == "person":
                title = escape(clip(prompt.text.strip(), 80))
                x = f"{self.scale.x(prompt.at):.3f}%"
                yield (
                    f'<a href="#p{number}" aria-label="your prompt: {title}">'
                    f'<circle class="you" cx="{x}" cy="{y}" r="4.5"/>'
                    f"<title>{title}</title></a>"
                )

    def _round_brackets(self) -> Iterator[str]:
        if not self.loop:
            return
        rounds = self.loop.rounds
        if len(rounds) > MAX_BRACKETS:
            first, last = rounds[3], rounds[-2]
            between = Round(0, [*first.calls, *last.calls], late=first.late)
            text = f"{first.number}–{last.number}"
            drawn = [(each, str(each.number)) for each in (*rounds[:3], rounds[-1])]
            drawn.insert(3, (between, text))
        else:
            drawn = [(each, str(each.number)) for each in rounds]
        y = self.brackets
        for each, text in drawn:
            left, right = self.scale.x(each.start), self.scale.x(each.end)
            ends = f"{left:.3f}%", f"{right:.3f}%"
            link = f"r{each.number or rounds[3].number}"
            word = '<tspan class="w">round </tspan>' if right - left > 6 else ""
            yield (
                f'<a href="#{link}" class="br{" late" * each.late}" aria-label="round {text}">'
                f'<rect class="hit" x="{ends[0]}" y="{y}" width="{right - left:.3f}%" height="30"/>'
                f"{_line('', ends[0], ends[0], y, y + 4)}{_line('', ends[1], ends[1], y, y + 4)}"
                f"{_line('', *ends, y + 4, y + 4)}"
                f'<text x="{(left + right) / 2:.3f}%" y="{y + 19}" text-anchor="middle">'
                f"{word}{text}</text></a>"
            )

    def _axis_labels(self) -> Iterator[str]:
        y = self.axis
        yield _line("axis", "0", "100%", y, y)
        last = -100.0
        for each in self.scale.folds:
            center = (each.left + each.right) / 2
            if center - last < MIN_MARK_DISTANCE:
                continue
            last = center
            minutes = (each.end - each.start) / 60
            text = f"{minutes:.0f} m" if minutes < 90 else f"{minutes / 60:.0f} h"
            text = text if minutes < 2880 else f"{minutes / 1440:.0f} d"
            place = f'x="{center:.3f}%" y="{y + 18}" text-anchor="middle"'
            yield f'<text class="fl x" {place}>{text}</text>'
        for mark in self.scale.labels():
            x = f"{mark.x:.3f}%"
            anchor = "start" if mark.x < 1 else "middle"
            place = f'x="{x}" y="{y + 18}" text-anchor="{anchor}"'
            yield (
                f"<g{' class=w' if mark.minor else ''}>{_line('axis', x, x, y, y + 4)}"
                f'<text class="xl" {place}>{mark.text}</text></g>'
            )

    def _marks(self) -> Iterator[str]:
        trip = self.story.trip
        drawn = self.story.marks[:MAX_DRAWN_MARKS]
        for mark in drawn:
            x = f"{self.scale.x(mark.at):.3f}%"
            bottom = self.axis if mark is trip or not self.story.curve else CURVE_BASE_PX
            yield _line(f"v {mark.level}{' trip' * (mark is trip)}", x, x, 22, bottom)
        for at, marks in self._clusters(drawn):
            # Near the right edge they stand to the left of their place.
            first = 1 - len(marks) if at > 80 else 0
            for place, mark in enumerate(marks, first):
                yield self._mark(mark, min(max(at, 0.8), 99.2), place * MARK_PX)

    def _clusters(self, marks: list[Mark]) -> list[tuple[float, list[Mark]]]:
        """Return (position of the first, marks) of those that stand side by side."""
        found: list[tuple[float, list[Mark]]] = []
        for mark in marks:
            at = self.scale.x(mark.at)
            if found and at - found[-1][0] < MIN_MARK_DISTANCE:
                found[-1][1].append(mark)
            else:
                found.append((at, [mark]))
        return found

    def _mark(self, mark: Mark, at: float, shift: int) -> str:
        shape = (
            f'<circle cx="{shift}" cy="9" r="8.5"/>'
            if mark.level == "warning"
            else f'<rect x="{shift - 9}" y="0" width="18" height="18"/>'
        )
        words = escape(clip(f"{mark.letter}: {mark.watcher}, {clean_message(mark.message)}", 100))
        spent = f", {dollars(mark.usd, self.story.estimated)} spent by then" * self.story.priced
        return (
            f'<svg x="{at:.3f}%" y="2" overflow="visible"><a href="#v{mark.letter}" '
            f'class="m {mark.level}" aria-label="{words}">{shape}'
            f'<text x="{shift}" y="13" text-anchor="middle">{mark.letter}</text>'
            f"<title>{words}{spent}</title></a></svg>"
        )


def _line(kind: str, x1: str, x2: str, y1: float, y2: float) -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<line{name} x1="{x1}" x2="{x2}" y1="{y1:.5g}" y2="{y2:.5g}"/>'
