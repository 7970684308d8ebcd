"""Pages of results: Markdown to read, JSON to compute with, plots as SVG, each file written whole.

Every page says what it was made from, by what, how and when. Names of people and files come from
untrusted photographs, so text is escaped for Markdown. Pictures of faces go into a folder of their own,
``pictures``, which version control leaves out; a page names them but does not show them.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

import numpy as np

from pipeline.labelled import Workplace
from pipeline.options import UsageError
from transforms import storage
from transforms.bootstrap import REPEATS, Interval
from transforms.export_list import write_listed
from transforms.verification import allowed_pairs

PICTURES = "pictures"
INTERVALS = (
    f"95 % intervals over {REPEATS} drawings of people (percentile bootstrap; of few people, Wilson's "
    "where that is wider)"
)
_LEAST_PAIRS = 10  # a FAR that fewer accepted pairs decide is hardly measured
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$])")
_COLOURS = ("#1b6ca8", "#c8553d", "#2a9d6f", "#8a5cb8", "#b8860b", "#555555")


@dataclass(frozen=True)
class Table:
    """A table; values are text already. `note` is a sentence below it."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Plot:
    """An SVG file beside the page."""

    name: str
    caption: str
    svg: bytes


@dataclass(frozen=True)
class Section:
    """A part of a page: paragraphs, then tables, then plots."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()


@dataclass(frozen=True)
class EvaluationPage:
    """One experiment. `name` names its files; `data`, `model` and `fingerprint` say what was measured;
    `facts` is what the JSON file holds of it; `warnings` stand on top."""

    name: str
    title: str
    data: str
    model: str
    fingerprint: str
    sections: Sequence[Section]
    facts: Mapping[str, object]
    warnings: Sequence[str] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def write_page(page: EvaluationPage, work: Workplace) -> list[str]:
    """Writes a page's files into the folder for results; a line that names the page."""
    made = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    for name, content in page.pictures.items():
        write_listed(work.out, f"{PICTURES}/{name}", content)
    for section in page.sections:
        for plot in section.plots:
            storage.write_bytes(storage.join(work.out, plot.name), plot.svg)
    about = {
        "experiment": page.name,
        "data": page.data,
        "model": page.model,
        "fingerprint": page.fingerprint,
        "command": work.command,
        "date": made,
    }
    facts = json.dumps({**about, **_plain(page.facts)}, indent=1, ensure_ascii=False) + "\n"
    storage.write_bytes(
        storage.join(work.out, f"{page.name}.json"), facts.encode("utf-8", "backslashreplace")
    )
    text = _markdown(page, about).encode("utf-8", "backslashreplace")
    path = storage.join(work.out, f"{page.name}.md")
    storage.write_bytes(path, text)
    return [f"Page: {path}"]


def _markdown(page: EvaluationPage, about: Mapping[str, str]) -> str:
    lines = [f"# {escaped(page.title)}", ""]
    lines += [f"> **{escaped(warning)}**\n" for warning in page.warnings]
    lines += ["| | |", "| --- | --- |"]
    lines += [
        f"| {label} | {f'`{value}`' if label == 'command' else escaped(value)} |"
        for label, value in about.items()
        if label != "experiment"
    ]
    for section in page.sections:
        lines += ["", f"## {escaped(section.title)}", ""]
        lines += [f"{escaped(paragraph)}\n" for paragraph in section.paragraphs]
        for table in section.tables:
            lines += [*_table(table), ""]
        lines += [f"![{escaped(plot.caption)}]({plot.name})\n" for plot in section.plots]
    if page.pictures:
        names = list(page.pictures)
        listed = ", ".join(names) if len(names) < 5 else f"{len(names)} from {names[0]} to {names[-1]}"
        lines += ["", f"Pictures of faces, kept out of version control, in {PICTURES}/: {escaped(listed)}."]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _table(table: Table) -> list[str]:
    lines = ["| " + " | ".join(escaped(c) for c in table.columns) + " |", "| --- " * len(table.columns) + "|"]
    lines += ["| " + " | ".join(escaped(str(value)) for value in row) + " |" for row in table.rows]
    return [*lines, "", escaped(table.note)] if table.note else lines


def escaped(text: str) -> str:
    """Text on one line that means nothing else in Markdown or in the HTML made from it."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return _SPECIAL.sub(r"\\\1", printable).replace("&", "&amp;")


def percent(value: float, digits: int = 2) -> str:
    """0.98765 as "98.77 %"; an en dash for what is no number."""
    return f"{100 * value:.{digits}f} %" if np.isfinite(value) else "\N{EN DASH}"


def deciding(far: float, different: int) -> str:
    """As in "3 pairs decide", where so few of all `different` pairs of two people may be accepted at a FAR
    that it is hardly measured; else nothing."""
    allowed = allowed_pairs(far, different)
    if allowed >= _LEAST_PAIRS:
        return ""
    return "1 pair decides" if allowed == 1 else f"{allowed or 'no'} pairs decide"


def hardly_measured(far: float, different: int) -> list[str]:
    """The warning that goes with it."""
    few = deciding(far, different)
    if not few:
        return []
    return [
        f"FAR {far:.0e} is hardly measured: {few}, of {different:,} pairs of two people. Give photographs of "
        "more people"
    ]


def with_interval(value: float, interval: Interval, digits: int = 2) -> str:
    """As in "97.47 % (93.61 to 98.25)"."""
    if not np.isfinite(interval.low):
        return percent(value, digits)
    return f"{percent(value, digits)} ({100 * interval.low:.{digits}f} to {100 * interval.high:.{digits}f})"


@dataclass(frozen=True)
class Line:
    """One curve: its points, what it is called, and the interval around it where there is one."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    marked: bool = False


def line_plot(
    lines: Sequence[Line],
    *,
    x: str,
    y: str,
    log_x: bool = False,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    x_ticks: Sequence[int] | None = None,
) -> bytes:
    """An SVG with one curve per line. The same values give the same bytes."""
    figure_class = _figure()
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "albumen", "svg.fonttype": "path"}):
        figure = figure_class(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
        for number, line in enumerate(lines):
            colour = _COLOURS[number % len(_COLOURS)]
            marker = "o" if line.marked else None
            axes.plot(
                line.x,
                line.y,
                color=colour,
                label=line.label.replace("$", r"\$"),
                linewidth=1.6,
                marker=marker,
            )
            if line.low is not None and line.high is not None:
                axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.15, linewidth=0)
        if log_x:
            axes.set_xscale("log")
        if x_ticks:
            axes.minorticks_off()
            axes.set_xticks(x_ticks, [f"{tick:,}" for tick in x_ticks])
        if x_range:
            axes.set_xlim(*x_range)
        if y_range:
            axes.set_ylim(*y_range)
        axes.set(xlabel=x, ylabel=y)
        axes.grid(True, which="major", linewidth=0.4, alpha=0.6)
        axes.legend(frameon=False)
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def _figure():
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("plots need matplotlib: pip install 'albumen[evaluate]'") from error
    return Figure


def _plain(value):
    """NumPy's numbers and arrays as JSON knows them, nan and infinity as null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Interval):
        return [_plain(value.low), _plain(value.high)]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (np.bool_, np.integer)):
        return value.item()
    if isinstance(value, (float, np.floating)):
        return float(f"{float(value):.7g}") if np.isfinite(value) else None
    return value
