"""Time on the picture's x axis: gaps without an event are folded, the rest is linear."""

from dataclasses import dataclass

from agent_pipes.commands.report_page.words import clock

FOLD_WIDTH = 3.4
"""Width of a folded gap, in per cent of the picture."""

MAX_FOLDED_WIDTH = 45.0
"""Width that all folded gaps take together at most, in per cent."""

MAX_LABELS = 9
MIN_LABEL_DISTANCE = 7.5
MIN_FOLD_DISTANCE = 4.6
"""Per cent between two labels, and between a label and that of a fold."""

STEPS_S = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 4 * 3600, 6 * 3600, 12 * 3600, 86400),
    *(2 * 86400, 7 * 86400, 30 * 86400, 365 * 86400),
)
"""Seconds between two labels of the axis."""


@dataclass(slots=True)
class Segment:
    """A span of time and where it lies: seconds, and per cent of the width."""

    start: float
    end: float
    left: float
    right: float
    folded: bool


@dataclass(slots=True)
class Label:
    """A label of the axis; a `minor` one is left out on narrow screens."""

    x: float
    text: str
    minor: bool


class Scale:
    """Maps seconds since the session's start to per cent of the width."""

    def __init__(self, length: float, gaps: list[tuple[float, float]]) -> None:
        self.length = length
        gaps = [gap for gap in gaps if gap[1] <= length]
        width = min(FOLD_WIDTH, MAX_FOLDED_WIDTH / len(gaps)) if gaps else 0.0
        active = length - sum(end - start for start, end in gaps)
        self._rate = (100.0 - width * len(gaps)) / active if active > 0 else 0.0
        self.segments: list[Segment] = []
        at = x = 0.0
        for start, end in [*gaps, (length, length)]:
            right = x + (start - at) * self._rate
            self.segments.append(Segment(at, start, x, right, False))
            if end > start:
                self.segments.append(Segment(start, end, right, right + width, True))
            at, x = end, right + (width if end > start else 0.0)

    @property
    def folds(self) -> list[Segment]:
        return [each for each in self.segments if each.folded]

    def x(self, at: float) -> float:
        """Return the position of a time, 0 to 100."""
        at = min(max(at, 0.0), self.length)
        for each in self.segments:
            if at <= each.end:
                break
        if each.end <= each.start:
            return each.left
        return each.left + (at - each.start) / (each.end - each.start) * (each.right - each.left)

    def labels(self) -> list[Label]:
        """Return the axis labels outside the folds, no two of which overlap."""
        active = sum(each.end - each.start for each in self.segments if not each.folded)
        step = next((each for each in STEPS_S if active / each <= MAX_LABELS - 1), STEPS_S[-1])
        centers = [(each.left + each.right) / 2 for each in self.folds]
        labels: list[Label] = []
        for each in self.segments:
            if each.folded:
                continue
            first = int(each.start // step) + (each.start % step > 1e-9)
            for number in range(first, int(each.end // step) + 1):
                x = self.x(number * step)
                near_label = bool(labels) and x - labels[-1].x < MIN_LABEL_DISTANCE
                near_fold = any(abs(x - center) < MIN_FOLD_DISTANCE for center in centers)
                if not near_label and not near_fold and x <= 97.0:
                    text = self._text(number * step, step)
                    labels.append(Label(x, text, len(labels) % 2 == 1))
        return labels

    def _text(self, at: float, step: float) -> str:
        if self.length < 60:
            return f"{at:g} s"
        text = clock(at, self.length)
        # Whole minutes of a long session, as hours and minutes.
        return text.removesuffix(":00") if self.length >= 3600 and step >= 60 else text


def dollar_lines(most: float) -> list[float]:
    """Return the dollar values of the grid lines, the last at least `most`."""
    step = 0.0001
    for step in (base * 10.0**power for power in range(-4, 7) for base in (1, 2, 5)):
        if most <= 4 * step:
            break
    lines = max(1, -int(-most / step // 1))
    return [step * number for number in range(1, lines + 1)]
