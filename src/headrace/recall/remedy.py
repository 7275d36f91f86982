"""What a recall has to do, in order, and what it leaves to people: decided before it begins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.pipeline import store as pipeline_store
from headrace.pipeline import streams
from headrace.project.plan import qualified
from headrace.recall.render import short
from headrace.recall.store import StepRecord

if TYPE_CHECKING:
    from headrace.pipeline import Pipeline
    from headrace.project import Desired
    from headrace.recall.found import ReachedTable, Recall


def steps(desired: Desired, recall: Recall) -> list[StepRecord]:
    """Refreshes in the order of the pipeline, then scorings, marks, and what is left to people."""
    return [
        *_refreshes(desired, recall),
        *_scorings(desired, recall),
        *(
            StepRecord("mark", each.label)
            for each in recall.models
            if each.relation == "trained on" and each.name is not None
        ),
        *_for_people(desired, recall),
    ]


def reading_streams(pipeline: Pipeline, contents: set[tuple[str, str]]) -> dict[str, list[str]]:
    """Streaming tables whose rows hold one of the files, with what a rebuild would lose.

    A rebuild reads the raw files that are there. Other files that the table has read and that
    are gone would be missing from it: their rows exist nowhere else.

    Args:
        pipeline: the tables.
        contents: path and checksum of each file.
    """
    found: dict[str, list[str]] = {}
    context = pipeline.context
    for name in pipeline.order():
        dataset = pipeline.datasets[name]
        last = pipeline_store.last_done(context.workspace.store, name)
        if dataset.kind != "streaming_table" or last is None:
            continue
        read = streams.state(context, last).read.values()
        if any((file.path, file.sha256) in contents for file in read):
            others = {file.path for file in read if (file.path, file.sha256) not in contents}
            found[name] = sorted(path for path in others if not Path(path).is_file())
    return found


def _refreshes(desired: Desired, recall: Recall) -> Iterator[StepRecord]:
    """Every table of the pipeline whose newest version holds the data."""
    if desired.pipeline is None:
        return
    for name in desired.pipeline.order():
        reached = recall.table(name)
        if reached is not None and reached.holds_now is not None:
            yield StepRecord("refresh", name)


def _scorings(desired: Desired, recall: Recall) -> Iterator[StepRecord]:
    """Every table of predictions that holds some now, or whose input does."""
    for spec in desired.project.prediction_specs():
        name = qualified(spec.table)
        reached, source = recall.table(name), recall.table(qualified(spec.input))
        held = [each for each in (reached, source) if each is not None and each.holds_now]
        if held:
            yield StepRecord("score", name)


def _for_people(desired: Desired, recall: Recall) -> Iterator[StepRecord]:
    ours = set(desired.pipeline.order()) if desired.pipeline is not None else set()
    ours |= {qualified(spec.table) for spec in desired.project.prediction_specs()}
    for each in recall.tables:
        # The log of requests is what was answered: it stays as it is.
        if each.holds_now is None or each.name in ours or each.kind == "request log":
            continue
        if each.name != recall.origin.table:
            yield left(each.name, _written_by(each))
    for model in recall.models:
        if model.relation == "trained on" and "production" in model.aliases:
            yield left(
                model.label,
                "the model in production learned from it: headrace run trains on the mended "
                "tables and lets the gate decide; where that finds the new version no better, "
                f"headrace override {model.name}/VERSION --reason TEXT puts it in production",
            )
        elif model.relation == "judged with" and model.aliases:
            yield left(
                model.label,
                "it was judged on a hold-out that holds it: headrace run judges the next version "
                "on rows of the mended table",
            )
    for deployment in recall.serving:
        yield left(
            f"endpoint {deployment.endpoint}",
            f"it answers with {deployment.model}: headrace endpoints rollback "
            f"{deployment.endpoint} goes back to the version before",
        )
    for source in {each.source for each in recall.collected}:
        yield left(
            source or "a program",
            "it collected the rows; what became of them is recorded nowhere",
        )


def left(name: str, message: str) -> StepRecord:
    """Something that no command does by itself."""
    return StepRecord("people", name, "left", message)


def _written_by(table: ReachedTable) -> str:
    source = next((step.source for step in reversed(table.how) if step.source), None)
    place = f" by {source}" if source else ""
    return f"{short(table.name)} is not of the pipeline: it was written{place}; run that again"
