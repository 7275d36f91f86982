"""A comparison as one HTML page: no script, and nothing that is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Final, Literal

from headrace.promotion.comparison import charts

if TYPE_CHECKING:
    from headrace.gate.findings import SliceReport
    from headrace.promotion.comparison.facts import Comparison, MetricGain

State = Literal["better", "worse", "open"]
WORDS: Final[dict[State, str]] = {"better": "better", "worse": "worse", "open": "not certain"}

_FEATURES: Final = 20
_KINDS: Final = {
    "data": "Data",
    "training": "Training",
    "code": "Code",
    "environment": "Environment",
}


def state(gain: MetricGain) -> State:
    """What an interval says: all of it above zero, all of it below, or neither."""
    if gain.low > 0:
        return "better"
    return "worse" if gain.high < 0 else "open"


def slice_state(report: SliceReport) -> str:
    """What is known of one slice, in words."""
    if not report.judged:
        return "too few rows"
    if report.test is None:
        return "no value"
    if report.test.worse:
        return f"worse, p {report.test.adjusted:.2g}"
    return "not worse" if report.test.gain < 0 else "as good or better"


def headline(found: Comparison) -> str:
    """One sentence: the gate's metric, and what its interval says."""
    gain = next(each for each in found.metrics if each.decides)
    certain = {"better": "better with certainty", "worse": "worse with certainty"}
    return (
        f"{gain.name} {gain.candidate:.4g} against {gain.champion:.4g}: {gain.gain:+.3g} "
        f"({found.confidence * 100:g} % interval {gain.low:+.3g} to {gain.high:+.3g}), "
        f"{certain.get(state(gain), 'not certain')}"
    )


def page(found: Comparison) -> str:
    """The whole page."""
    style = resources.files(__package__).joinpath("page.css").read_text()
    title = escape(f"{found.candidate} against {found.champion}")
    sections = "\n".join(
        f"<section><h2>{escape(heading)}</h2>{body}</section>"
        for heading, body in _sections(found)
        if body
    )
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><style>{style}</style></head><body><main>'
        f"<header><h1>{title}</h1><p>{escape(headline(found))}.</p>"
        f'<p class="quiet">Measured on {found.rows:,} frozen rows: hold-out '
        f"{escape(found.holdout)}.{_agreement(found)}</p>"
        f'<p class="legend"><span class="key candidate"></span>{escape(found.candidate)} '
        f'<span class="key champion"></span>{escape(found.champion)}</p></header>\n'
        f"{sections}\n</main></body></html>\n"
    )


def _agreement(found: Comparison) -> str:
    told = []
    if found.same_label is not None:
        told.append(f"the same label in {found.same_label * 100:.2f} % of them")
    if found.correlation is not None:
        told.append(f"scores correlated {found.correlation:.3f}")
    return f" The two give {', '.join(told)}." if told else ""


def _sections(found: Comparison) -> Iterator[tuple[str, str]]:
    yield "Metrics", _metrics(found)
    yield f"Slices, by {found.metrics[0].name}", _slices(found)
    yield f"Where {found.candidate} errs more", _errors(found)
    yield "Calibration", _calibration(found)
    yield "Scores" if found.task != "regression" else "Errors", _histograms(found)
    yield "Importance", _importance(found)
    yield "What differs in the making", _changes(found)
    yield "Not shown", _list(found.notes)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already; a column whose name starts with ``#`` is of numbers."""
    numeric = [name.startswith("#") for name in columns]

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="number">{cell}</{tag}>' if number else f"<{tag}>{cell}</{tag}>"
            for number, cell in zip(numeric, row, strict=True)
        )

    head = cells("th", [escape(name.lstrip("#")) for name in columns])
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _metrics(found: Comparison) -> str:
    rows = []
    for each in found.metrics:
        what = state(each)
        reach = max(abs(each.low), abs(each.high))
        name = escape(each.name) + (' <span class="quiet">decides</span>' if each.decides else "")
        rows.append(
            (
                name,
                f"{each.candidate:.4g}",
                f"{each.champion:.4g}",
                f"{each.gain:+.3g}",
                charts.interval(each.gain, each.low, each.high, reach, what),
                f"{each.low:+.3g} to {each.high:+.3g}",
                f'<span class="{what}">{WORDS[what]}</span>',
            )
        )
    level = f"{found.confidence * 100:g} % interval"
    note = (
        '<p class="quiet">A gain is positive where the candidate is better, also for losses. Each '
        "row has its own scale. The intervals are not corrected for how many metrics there are; "
        "the gate decides by one.</p>"
    )
    names = ["metric", "#candidate", "#champion", "#gain", level, "", ""]
    return _table(names, rows) + note


def _slices(found: Comparison) -> str:
    rows = [
        (
            escape(f"{each.column} = {each.slice}"),
            f"{each.rows:,}",
            "" if each.positives is None else f"{each.positives:,}",
            "" if each.candidate is None else f"{each.candidate:.4g}",
            "" if each.champion is None else f"{each.champion:.4g}",
            "" if each.test is None else f"{each.test.gain:+.3g}",
            f'<span class="{"worse" if each.test and each.test.worse else ""}">'
            f"{escape(slice_state(each))}</span>",
        )
        for each in found.slices
    ]
    columns = ["slice", "#rows", "#positives", "#candidate", "#champion", "#gain", ""]
    return _table(columns, rows) if rows else ""


def _errors(found: Comparison) -> str:
    errors = found.error_slices
    tried = (
        f"{errors.tried:,} parts of single columns were tried for a larger {escape(errors.loss)}; "
        f"p-values are corrected for all of them (Holm)."
    )
    if not errors.found:
        return f"<p>Nowhere with certainty: {tried}</p>"
    rows = [
        (
            escape(f"{each.column} {each.rule}"),
            f"{each.rows:,}",
            f"{each.candidate:.4g}",
            f"{each.champion:.4g}",
            f"{each.p_value:.2g}",
        )
        for each in errors.found
    ]
    return (
        _table(["rows where", "#rows", "#candidate", "#champion", "#p"], rows)
        + f'<p class="quiet">{tried}</p>'
    )


def _calibration(found: Comparison) -> str:
    ours, theirs = found.calibrations
    if ours is None or theirs is None:
        return ""
    told = (
        f'<p class="quiet">Expected calibration error {ours.error:.4g} against {theirs.error:.4g}, '
        "over bins of equal count. On the dashed line scores are the shares they claim to be.</p>"
    )
    return f'<div class="chart">{charts.reliability(ours, theirs)}</div>{told}'


def _histograms(found: Comparison) -> str:
    if not found.histograms:
        return ""
    drawn = "".join(
        f"<figure><figcaption>{escape(each.of)} rows</figcaption>{charts.histogram(each)}</figure>"
        for each in found.histograms
    )
    note = "The candidate upwards, the champion downwards; each picture has its own height."
    return f'<div class="charts">{drawn}</div><p class="quiet">{note}</p>'


def _importance(found: Comparison) -> str:
    if not found.importance:
        return ""
    shown = found.importance[:_FEATURES]
    rest = len(found.importance) - len(shown)
    more = f" {rest:,} features that shifted less are not shown." if rest else ""
    return (
        f'<div class="chart wide">{charts.importance(shown)}</div>'
        f'<p class="quiet">Shares of each model\'s own importance; the largest shift first.{more}</p>'
    )


def _changes(found: Comparison) -> str:
    changes = found.changes
    rows = [
        (
            _KINDS[each.kind],
            escape(each.what),
            _value(each.candidate),
            _value(each.champion),
        )
        for each in changes.changes
    ]
    body = _table(["", "what", "candidate", "champion"], rows) if rows else "<p>Nothing.</p>"
    if changes.diff:
        lines = "\n".join(
            f'<span class="{_diff_class(line)}">{escape(line)}</span>'
            for line in changes.diff.splitlines()
        )
        body += f"<details><summary>The training code, line by line</summary><pre>{lines}</pre></details>"
    return body + _list(changes.unknown)


def _diff_class(line: str) -> str:
    if line.startswith(("+++", "---", "@@")):
        return "quiet"
    return {"+": "added", "-": "removed"}.get(line[:1], "")


def _value(text: str | None) -> str:
    return '<span class="quiet">none</span>' if text is None else escape(text)


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""
