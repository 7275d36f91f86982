"""Two real versions side by side: the numbers, the terminal and the page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from headrace.cli.compare import OtherModelError, SameVersionError
from headrace.cli.compare import command as compare_command
from headrace.promotion import GateSpec
from headrace.promotion.comparison import Comparison, compare, page
from headrace.promotion.errors import NoHoldoutError
from headrace.registry import ModelVersion, register
from headrace.tracking import train

if TYPE_CHECKING:
    from tests.modelling import ModelProject

GATE = GateSpec(metric="average_precision", slices=["model"], resamples=200)


@pytest.fixture(scope="module")
def versions(models: ModelProject) -> tuple[ModelVersion, ModelVersion]:
    """The weak one, and a better one of other code, features and parameters."""
    weak = models.spec(params={"depth": 1, "trees": 2}, features=["shake", "noise"])
    one = register(models.workspace, weak, train(models.workspace, weak))
    models.write(
        "training/model.py",
        """
        # <script>alert("more trees")</script>
        from sklearn.ensemble import RandomForestClassifier


        def train(X, y, *, seed, depth=5, trees=20):
            return RandomForestClassifier(trees, max_depth=depth, random_state=seed).fit(X, y)
        """,
    )
    strong = models.spec(params={"depth": 6, "trees": 30})
    return one, register(models.workspace, strong, train(models.workspace, strong))


@pytest.fixture(scope="module")
def found(models: ModelProject, versions: tuple[ModelVersion, ModelVersion]) -> Comparison:
    weak, strong = versions
    return compare(models.workspace, strong, weak, GATE)


@pytest.fixture(scope="module")
def back(models: ModelProject, versions: tuple[ModelVersion, ModelVersion]) -> Comparison:
    weak, strong = versions
    return compare(models.workspace, weak, strong, GATE)


def test_the_gate_s_metric_is_first_and_both_ways_mirror(
    found: Comparison, back: Comparison
) -> None:
    first, mirrored = found.metrics[0], back.metrics[0]
    assert (first.name, first.decides) == ("average_precision", True)
    assert first.low > 0
    assert mirrored.gain == pytest.approx(-first.gain)
    assert mirrored.high < 0
    assert {each.name for each in found.metrics} >= {"log_loss", "recall", "calibration_error"}


def test_where_the_candidate_errs_more_is_found(found: Comparison, back: Comparison) -> None:
    assert found.error_slices.found == ()
    assert back.error_slices.found
    assert all(each.candidate > each.champion for each in back.error_slices.found)
    assert any(each.column == "heat" for each in back.error_slices.found)  # what it cannot see


def test_slices_scores_and_importance(found: Comparison, back: Comparison) -> None:
    assert [each.slice for each in found.slices] == ["m0", "m1", "m2"]
    assert any(each.test and each.test.worse for each in back.slices)
    assert sum(each.rows for each in found.slices) == found.rows == 300
    positive, negative = found.histograms
    assert sum(positive.candidate) == pytest.approx(1)
    assert sum(negative.champion) == pytest.approx(1)
    heat = next(each for each in found.importance if each.feature == "heat")
    assert heat.champion is None
    assert found.importance[0] == heat
    assert sum(each.candidate or 0 for each in found.importance) == pytest.approx(1)
    assert 0 < (found.same_label or 0) < 1


def test_what_differs_in_the_making(found: Comparison) -> None:
    changes = {(each.kind, each.what): each for each in found.changes.changes}
    assert (changes["training", "depth"].candidate, changes["training", "depth"].champion) == (
        "6",
        "1",
    )
    assert ("training", "features") in changes
    assert ("code", "training/model.py") in changes
    assert "+# <script>" in found.changes.diff
    assert not [each for each in found.changes.changes if each.kind == "environment"]


class Outline(HTMLParser):
    """Balanced tags, headings, and whatever would load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag in ("script", "link", "img", "iframe"):
            self.loads.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["h2"]:
            self.headings.append(data)


def test_the_page_stands_alone_and_escapes_what_users_wrote(
    found: Comparison, back: Comparison
) -> None:
    for each in (found, back):
        outline = Outline()
        outline.feed(page(each))
        assert outline.open == []
        assert outline.loads == []
        assert outline.headings[:2] == ["Metrics", "Slices, by average_precision"]
        assert {"Calibration", "Scores", "Importance"} <= set(outline.headings)
        assert "url(" not in page(each)
        assert "&lt;script&gt;alert(" in page(each)
    assert "better with certainty" in page(found)
    assert "worse with certainty" in page(back)


def test_other_tasks_have_pages_too(models: ModelProject) -> None:
    models.write(
        "training/wear.py",
        "from sklearn.linear_model import Ridge\n"
        "def train(X, y, *, alpha): return Ridge(alpha=alpha).fit(X, y)\n",
    )
    for name, label, file, heading in (
        ("wear", "wear", "wear", "Errors"),
        ("grade", "grade", "model", "Metrics"),
    ):
        params = ({"alpha": 100.0}, {"alpha": 1.0}) if name == "wear" else ({"depth": 1}, {})
        made = []
        for each in params:
            spec = models.spec(
                name=name, label=label, train=f"training/{file}.py:train", params=each
            )
            made.append(register(models.workspace, spec, train(models.workspace, spec)))
        result = compare(models.workspace, made[1], made[0])
        assert result.calibrations == (None, None)
        assert f"<h2>{heading}</h2>" in page(result)
        json.dumps(result.as_json())


def test_the_command_prints_writes_and_tells_json(
    models: ModelProject,
    versions: tuple[ModelVersion, ModelVersion],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    weak, strong = versions
    monkeypatch.chdir(models.root)
    run = CliRunner().invoke

    told = run(
        compare_command, [str(strong), str(weak.version), "--html", str(tmp_path / "c.html")]
    )
    assert told.exit_code == 0, told.output
    assert f"{strong} against {weak}" in told.output
    for heading in ("Metrics", "Importance, the largest shifts", "What differs in the making"):
        assert heading in told.output
    assert (tmp_path / "c.html").read_text().startswith("<!doctype html>")
    facts = json.loads(run(compare_command, [str(strong), str(weak), "--json"]).output)
    assert facts["metrics"][0]["low"] > 0
    assert facts["changes"]["changes"]
    with pytest.raises(SameVersionError, match="Both are failure/"):
        run(compare_command, [str(strong), str(strong)], catch_exceptions=False)


def test_versions_of_two_models_are_not_compared(
    models: ModelProject,
    versions: tuple[ModelVersion, ModelVersion],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = models.spec(name="other")
    register(models.workspace, spec, train(models.workspace, spec))
    monkeypatch.chdir(models.root)
    with pytest.raises(OtherModelError, match="different models"):
        CliRunner().invoke(compare_command, ["other", str(versions[0])], catch_exceptions=False)


def test_a_version_that_headrace_did_not_train_has_no_rows_to_compare_on(
    models: ModelProject, versions: tuple[ModelVersion, ModelVersion]
) -> None:
    weak, strong = versions
    foreign = ModelVersion("failure", 99, strong.model_id, None, {})
    with pytest.raises(NoHoldoutError, match="no frozen hold-out"):
        compare(models.workspace, foreign, weak)
    found = compare(models.workspace, weak, foreign, GATE)
    assert found.changes.unknown == (
        "failure/99 has no run on this machine: training, code, environment",
    )
    assert found.notes == ("importance is not shown: the run of failure/99 recorded none here",)
