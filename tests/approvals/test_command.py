"""A project whose gate asks for two approvals, as its people see it on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text
from tests.modelling import ModelProject, feature_rows, make_model_project

from headrace.approvals import new_key, public_line
from headrace.cli import cli

YAML = """
name: models
groups:
  leads:
    ann: "{ann}"
    bob: "{bob}"
    dan: "{dan}"
models:
  failure:
    train: training/model.py:train
    table: gold.features
    label: fails
    time: at
    group: device
    features: [heat, shake, noise]
    holdout: {{last: 25%}}
    params: {{trees: {trees}}}
    gate: {{metric: roc_auc, resamples: 200, approvals: {{count: 2, group: leads}}}}
"""


class People:
    """Types commands in a project, as one person or another."""

    def __init__(self, project: ModelProject, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project = project
        self._monkeypatch = monkeypatch
        keys = {name: new_key(name)[1] for name in ("ann", "bob", "dan")}
        self._keys = keys
        self.write(trees=20)

    def write(self, trees: int) -> None:
        """The project file."""
        self.project.write("headrace.yaml", YAML.format(trees=trees, **self._keys))

    def type(self, who: str, *words: str, fails: type[BaseException] | None = None) -> str:
        """What a command says."""
        self._monkeypatch.setenv("HEADRACE_USER", who)
        done = CliRunner().invoke(cli, words, obj={"debug": False})
        if fails is not None:
            assert isinstance(done.exception, fails), done.output
            return str(done.exception)
        assert done.exit_code == 0, (done.output, done.exception)
        return str(done.output)

    def ask(self, who: str, *words: str) -> Any:
        """What a command says as JSON."""
        return json.loads(self.type(who, *words, "--json"))


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Path) -> Iterator[People]:
    project = make_model_project(tmp_path / "project", feature_rows(600))
    monkeypatch.chdir(project.root)
    yield People(project, monkeypatch)
    project.workspace.close()


def edit(people: People, column: str, before: str, after: str) -> None:
    """What somebody who can write the database does."""
    change = f"UPDATE headrace_verdicts SET {column} = replace({column}, :before, :after)"
    with people.project.workspace.store.begin() as connection:
        connection.execute(text(change), {"before": before, "after": after})


def test_nobody_approves_what_was_not_stated(people: People) -> None:
    from headrace.evidence.errors import EvidenceRefusedError
    from headrace.promotion import last_decision

    people.type("dan", "run")
    decided = last_decision(people.project.workspace, "failure")
    assert decided is not None
    assert decided.evidence is not None
    for column, before, after, why in (
        ("body", f"{decided.verdict.candidate}", "0.999", "not those that were signed"),
        ("judged_by", "dan", "eve", "dan asked for it, not eve"),
        ("evidence", decided.evidence, "0" * 64, "is not there"),
    ):
        edit(people, column, before, after)
        said = people.type("ann", "approve", "failure", "--yes", fails=EvidenceRefusedError)
        assert why in said
        edit(people, column, after, before)
    (file,) = people.project.workspace.paths.artifacts.rglob("MLmodel")
    file.write_text(file.read_text() + "# harmless")
    said = people.type("ann", "approve", "failure", "--yes", fails=EvidenceRefusedError)
    assert "changed: MLmodel" in said


@pytest.mark.slow
def test_two_people_promote_what_a_third_has_built(people: People, keys: Path) -> None:
    from headrace.approvals import ApprovalRefusedError, NothingToApproveError
    from headrace.approvals.errors import ApproverKeyError
    from headrace.registry import ModelNotFoundError

    built = people.ask("dan", "run")["steps"][0]
    assert (built["decision"], built["promoted"]) == ("waiting", False)
    assert built["message"].startswith("version 1 waits for approvals: roc_auc")
    assert "0 of 2 approvals, waits for ann, bob: headrace approve failure/1" in built["message"]
    (step,) = people.ask("dan", "plan")["steps"]
    assert (step["stale"], step["reason"]) == (
        False,
        "version 1: 0 of 2 approvals, waits for ann, bob: headrace approve failure/1",
    )
    assert "Waiting: failure version 1: 0 of 2" in people.type("dan", "status")

    assert "requester" in people.type(
        "dan", "approve", "failure/1", "--yes", fails=ApprovalRefusedError
    )
    people.type("eve", "approve", "failure/1", "--yes", fails=ApproverKeyError)
    assert 'did you mean "failure"' in people.type(
        "ann", "approve", "failur", "--yes", fails=ModelNotFoundError
    )
    said = people.type("ann", "approve", "failure", "--yes")
    assert "requested by" in said
    assert "Approved: 1 of 2 approvals (ann), waits for bob" in said
    again = people.type("ann", "approve", "failure/1", "--yes", fails=ApprovalRefusedError)
    assert "ann has approved already" in again
    last = people.ask("bob", "approve", "failure/1", "--key", str(keys / "bob"))
    assert (last["state"], last["approved_by"]) == ("promoted", ["ann", "bob"])
    people.type("ann", "approve", "failure/1", "--yes", fails=NothingToApproveError)

    (model,) = people.ask("dan", "status")["models"]
    assert (model["champion"], model["state"], model["overridden"]) == (1, "promoted", False)
    (checked,) = people.ask("dan", "run")["steps"]
    assert checked["state"] == "fresh"
    entries = people.ask("dan", "audit", "--object", "failure")["entries"]
    assert [(each["action"], each["outcome"], each["by"]) for each in entries] == [
        ("gate.promoted", "done", "bob"),
        ("approval", "done", "bob"),
        ("approval", "refused", "ann"),
        ("approval", "done", "ann"),
        ("approval", "refused", "dan"),
        ("gate.waiting", "done", "dan"),
    ]


def test_a_run_promotes_what_has_its_approvals(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headrace.approvals import approve, key_file, signer_of
    from headrace.project.config import load_project
    from headrace.promotion import waits_for

    people.type("dan", "run")
    workspace = people.project.workspace
    project = load_project(workspace.paths)
    ask = waits_for(workspace, "failure", project.models["failure"].gate, project.groups).ask
    for name in ("ann", "bob"):
        approve(workspace.store, ask, name, signer_of(key_file(name)), by=name)
    (step,) = people.ask("dan", "plan")["steps"]
    assert (step["stale"], step["reason"]) == (
        True,
        "version 1: 2 of 2 approvals (ann, bob): headrace run promotes it",
    )
    (built,) = people.ask("dan", "run")["steps"]
    assert (built["decision"], built["promoted"]) == ("promoted", True)


def test_an_override_is_told_everywhere(people: People) -> None:
    from headrace.promotion.errors import OverrideReasonError

    people.type("dan", "run")
    people.type("dan", "override", "failure/1", "--reason", " ", fails=OverrideReasonError)
    people.type("dan", "override", "failure", "--reason", "now", fails=SystemExit)
    said = people.type("dan", "override", "failure/1", "--reason", "the fleet stands still")
    assert "OVERRIDDEN: failure@production is version 1, was no version." in said
    sentence = "failure@production is version 1 by override, without the gate's yes: the fleet"
    for command in ("status", "plan", "run"):
        assert f"OVERRIDDEN: {sentence}" in people.type("dan", command), command
        notice = people.ask("dan", command)["notices"][0]
        assert (notice["kind"], notice["text"].startswith(sentence)) == ("override", True)
    (entry,) = people.ask("eve", "audit", "--by", "dan", "--limit", "1")["entries"]
    assert (entry["action"], entry["details"]["reason"]) == ("override", "the fleet stands still")
    gone = people.type("dan", "override", "failure", "--none", "--reason", "it harms")
    assert "failure@production is no version, was version 1" in gone


def test_a_new_key_prints_its_line(people: People, keys: Path) -> None:
    said = people.type("eve", "approve", "--new-key", "eve")
    assert f'eve: "{public_line(keys / "eve")}"' in said
    assert "PRIVATE" not in said


def test_since_takes_a_span_or_a_date(people: People) -> None:
    for since, count in (("1h", 1), ("2001-01-01", 1), ("2999-01-01", 0)):
        people.type("dan", "plan")
        people.project.write("headrace.yaml", "name: models\nprotected: [production, live]\n")
        people.type("dan", "plan")
        assert len(people.ask("dan", "audit", "--since", since)["entries"]) == count
    people.type("dan", "audit", "--since", "yesterday", fails=SystemExit)
