"""Line plots as inline SVG that is readable on light and on dark pages."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

INK = "#010203"  # stands for the page's text colour while matplotlib draws
PALETTE = ("#3b82f6", "#ea7317", "#16a34a", "#a855f7", "#e11d48", "#0891b2", "#b7791f", "#db2777")
EVENT = "#e11d48"
MANY_POINTS = 5000  # beyond, lines are drawn as pixels: a megabyte of path serves no eye

# Inches at 72 per inch; the SVG scales to the page. Fixed margins, so that the steps of all figures align,
# and because matplotlib's layout engines take longer than all the drawing.
_WIDTH, _PANEL_HEIGHT = 9.6, 2.0
_LEFT, _RIGHT, _TOP, _TOP_TITLED, _BOTTOM, _BETWEEN = 0.75, 0.15, 0.3, 0.55, 0.55, 0.35
_LETTER, _LEGEND_ROW, _LEGEND_LINE = 0.1, 0.25, 0.8

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.xmargin": 0.01,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "legend.borderaxespad": 0.2,
    "lines.linewidth": 1.4,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "ytick.minor.size": 0,
    "axes.formatter.useoffset": False,
}


@dataclass(frozen=True)
class Segment:
    """A domain's place on the x axis of a sequence: its first step, and the one after its last."""

    name: str
    start: int
    end: int


def colour(index: int) -> str:
    """The colour of the `index`-th domain or series."""
    return PALETTE[index % len(PALETTE)]


def dashes(index: int) -> str:
    """The line style of the `index`-th domain, so that it differs from those of its colour."""
    return ("-", "--", ":", "-.")[index // len(PALETTE) % 4]


class SequencePlot:
    """Panels above each other over one x axis, the steps of a whole sequence, its domains marked.

    To be used as a context manager: the look applies inside.
    """

    def __init__(self, name: str, panels: int, segments: Sequence[Segment], height: float = _PANEL_HEIGHT):
        self._name, self._segments = name, segments
        self._style = rc_context({**_STYLE, "svg.hashsalt": name})
        self._shape = (panels, height)
        room = (_WIDTH - _LEFT - _RIGHT) / max(1, segments[-1].end)
        self._crowded = any(_LETTER * len(s.name) > room * (s.end - s.start) for s in segments)
        self._top = _TOP_TITLED if panels > 1 else _TOP

    def __enter__(self) -> "SequencePlot":
        self._style.__enter__()
        panels, height = self._shape
        inner = panels * height + (panels - 1) * _BETWEEN
        self._figure = Figure(figsize=(_WIDTH, self._top + inner + _BOTTOM))
        self.panels: list[Axes] = list(self._figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])
        self._margins(below=_BOTTOM)
        return self

    def __exit__(self, *error: object) -> None:
        self._style.__exit__(None, None, None)

    @property
    def rasterized(self) -> bool:
        """Whether lines should be drawn as pixels."""
        return self._segments[-1].end > MANY_POINTS

    def logarithmic(self, axes: Axes) -> None:
        """Makes the y axis of a panel that has its lines logarithmic."""
        axes.set_yscale("log", nonpositive="mask")
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))

    def legend(self, axes: Axes) -> None:
        """The panel's lines by name, in a row beside its title."""
        lines = axes.get_legend_handles_labels()[0]
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(lines))

    def legend_below(self, axes: Axes) -> None:
        """The panel's lines by name under the figure, which grows by as much."""
        handles, labels = axes.get_legend_handles_labels()
        columns = max(1, int(_WIDTH / (_LEGEND_LINE + _LETTER * max(map(len, labels)))))
        rows = -(-len(labels) // columns)
        height = self._figure.get_figheight() + rows * _LEGEND_ROW
        self._figure.set_figheight(height)
        self._margins(below=_BOTTOM + rows * _LEGEND_ROW)
        self._figure.legend(handles, labels, loc="lower center", ncols=columns)

    def svg(self) -> Markup:
        """The figure, to be put into a page as it is."""
        self._mark_domains()
        buffer = io.StringIO()
        self._figure.savefig(buffer, format="svg", transparent=True, dpi=150)
        return inline(buffer.getvalue(), self._name)

    def _margins(self, below: float) -> None:
        _, height = self._shape
        total = self._figure.get_figheight()
        self._figure.subplots_adjust(
            left=_LEFT / _WIDTH,
            right=1 - _RIGHT / _WIDTH,
            top=1 - self._top / total,
            bottom=below / total,
            hspace=_BETWEEN / height,
        )
        self._figure.align_ylabels(self.panels)

    def _mark_domains(self) -> None:
        """Names above the first panel, or numbers if the names do not fit."""
        first, last = self.panels[0], self.panels[-1]
        for axes in self.panels:
            for segment in self._segments[1:]:
                axes.axvline(segment.start, color=INK, linewidth=0.8, alpha=0.45)
        for number, segment in enumerate(self._segments, start=1):
            first.annotate(
                str(number) if self._crowded else segment.name,
                ((segment.start + segment.end) / 2, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 22 if first.get_title(loc="left") else 6),
                textcoords="offset points",
                ha="center",
                fontweight="bold",
            )
        numbered = "; domains numbered as in the tables" if self._crowded else ""
        last.set_xlabel("optimizer step of the sequence" + numbered)
        last.set_xlim(0, max(1, self._segments[-1].end))


def inline(svg: str, name: str) -> Markup:
    """matplotlib's SVG without prologue, metadata, namespaces and fixed size, all ids `name`'s own."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", body)
    head, rest = body.split(">", 1)
    head = re.sub(r'\s(width|height|version)="[^"]*"', "", head)
    rest = re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{name}-", rest)
    return Markup((head + ">" + rest).replace(INK, "currentColor"))  # matplotlib escapes its text
