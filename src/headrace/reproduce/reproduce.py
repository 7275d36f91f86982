"""From a version's name to a verdict on whether it can be made again."""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace import identity
from headrace.clock import iso
from headrace.environments import Environment, EnvironmentBuildError, ensure
from headrace.errors import HeadraceError
from headrace.ids import new_id
from headrace.locks import exclusive
from headrace.registry import ModelVersion, resolve
from headrace.reproduce import compare
from headrace.reproduce.again import Again, train_again
from headrace.reproduce.errors import NotReproducibleError
from headrace.reproduce.files import compare_files
from headrace.reproduce.recorded import Recorded, gather, read_rows, unpack
from headrace.reproduce.reproduction import Finding, Reproduction
from headrace.tracking.evaluation import measure
from headrace.tracking.holdout import holdout_digest
from headrace.tracking.inputs import rows_digest

if TYPE_CHECKING:
    from headrace.tracking.data import Source, TrainingData
    from headrace.workspace import Workspace

TAG: Final = "headrace.reproduced"
_REPORTS: Final = "reproductions"
_SCRATCH: Final = "reproduce"


class KeepDirectoryError(HeadraceError):
    """The directory that is to be kept holds files."""

    code = "keep_directory"
    exit_code = 2

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        super().__init__(
            "The directory is not empty.",
            where=str(directory),
            why="what is kept would be mixed with what is there",
            next="name another directory",
        )


def reproduce(
    workspace: Workspace,
    version: ModelVersion | str,
    *,
    keep: Path | None = None,
    offline: bool = False,
    wheels: Path | None = None,
    seconds: float | None = None,
) -> Reproduction:
    """Make a version again from what its training recorded, and compare.

    Rows come from the pinned version of the table, code from the run and not from the working
    tree, the environment from the version's lock. The training runs in a process of its own,
    with the recorded seed, parameters, number of threads and hash seed. A report is kept with
    the run, whose tag ``headrace.reproduced`` tells the last one.

    Args:
        workspace: the project.
        version: of the registry, or ``name/3`` or ``name@alias``.
        keep: directory to leave everything in: rows, code, the model, what the process said.
        offline: build an environment without a network.
        wheels: directory of wheels to build it from; ``HEADRACE_WHEELS`` if not given.
        seconds: how long the training may take; any time if not given.

    Raises:
        RegistryError: there is no such version.
        KeepDirectoryError: the directory to keep holds files.
    """
    if isinstance(version, str):
        version = resolve(workspace, version)
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise KeepDirectoryError(keep)
    started = time.monotonic()
    with _scratch(workspace.paths.temporary) as scratch:
        try:
            found = _reproduced(workspace, version, scratch, offline, wheels, seconds)
        except NotReproducibleError as error:
            found = _impossible(version, error)
        except EnvironmentBuildError as error:
            found = _impossible(version, error, "environment")
        found = replace(found, seconds=time.monotonic() - started, by=identity.principal())
        _report(workspace, version, found, scratch)
        if keep is not None:
            keep.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(scratch, keep, dirs_exist_ok=True)
    return found


@contextmanager
def _scratch(temporary: Path) -> Iterator[Path]:
    """A directory for the block; what killed processes left of theirs is removed first."""
    for lock in temporary.glob(f"{_SCRATCH}*.lock"):
        with exclusive(lock) as held:
            if held:
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
    scratch = temporary / new_id(_SCRATCH)
    lock = scratch.with_name(f"{scratch.name}.lock")
    with exclusive(lock):
        scratch.mkdir(mode=0o700)
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            lock.unlink(missing_ok=True)


def _reproduced(
    workspace: Workspace,
    version: ModelVersion,
    scratch: Path,
    offline: bool,
    wheels: Path | None,
    seconds: float | None,
) -> Reproduction:
    recorded = gather(workspace, version, scratch)
    same_code = unpack(recorded, scratch / "code")
    source, data = read_rows(workspace, recorded)
    environment = ensure(recorded.lock, offline=offline, wheels=wheels)
    again = train_again(recorded, data, environment, workspace.paths.root, scratch, seconds)
    # Here, and not where errors are worded: it imports the kernels.
    from headrace.parity import tolerance_of

    tolerance = tolerance_of(recorded.model).score
    then = compare.answers(recorded.predictions, again.reproduced)
    here = compare.answers(again.registered, again.reproduced)
    predictions = compare.of_predictions(then, here, tolerance)
    findings = [
        *_rows(recorded, source, data),
        compare.of_code(recorded.record.code_digest, same_code),
        _environment(recorded, environment),
        predictions,
        _metrics(recorded, data, again),
        compare.of_files(compare_files(recorded.model, again.model)),
        *compare.of_registered(compare.answers(recorded.predictions, again.registered)),
        *compare.of_circumstances(recorded.circumstances["runtime"], again.answer),
        *compare.of_hash_seed((then, here), recorded.circumstances["runtime"]),
        *_drift(version),
    ]
    return Reproduction(
        version.name,
        version.version,
        version.run_id,
        compare.verdict(findings),
        tuple(findings),
        largest=None if here is None else here.largest,
        labels=None if here is None else here.labels,
        tolerance=tolerance,
        rows=len(again.reproduced),
        training_seconds=round(again.answer["seconds"], 3),
        interpreter="running" if environment.current else "built",
    )


def _rows(recorded: Recorded, source: Source, data: TrainingData) -> list[Finding]:
    then, label = recorded.circumstances["rows"], recorded.spec.label
    found = [
        compare.of_rows(name, then[name], rows_digest(part, label), len(part.y))
        for name, part in (("train", data.train), ("holdout", data.holdout))
    ]
    frozen = holdout_digest(recorded.spec, source, data)
    if frozen != recorded.record.holdout_digest:
        text = f"another split: sha256 {frozen[:12]}, it was {recorded.record.holdout_digest}"
        found.append(Finding("split", "different", text))
    return found


def _environment(recorded: Recorded, environment: Environment) -> Finding:
    lock = recorded.lock
    how = "what is installed here" if environment.current else "built by uv"
    text = f"the version's lock, sha256 {lock.digest[:12]}: {how}"
    if not lock.complete:
        return Finding("environment", "note", f"{text}; it leaves versions open")
    return Finding("environment", "same", text)


def _metrics(recorded: Recorded, data: TrainingData, again: Again) -> Finding:
    if len(again.reproduced) != len(data.holdout.y):
        return Finding("metrics", "different", "there is another number of predictions")
    now = measure(data.task, data.holdout.y, again.reproduced, data.labels)
    return compare.of_metrics(recorded.record.metrics or {}, now)


def _drift(version: ModelVersion) -> list[Finding]:
    drift = version.tags.get("headrace.drift")
    if drift is None:
        return []
    lines = drift.splitlines()
    more = f", and {len(lines) - 1} more lines" if len(lines) > 1 else ""
    text = f"it was trained beside its project's lock: {lines[0]}{more}"
    return [Finding("drift", "note", text)]


def _impossible(
    version: ModelVersion, error: HeadraceError, missing: str | None = None
) -> Reproduction:
    name = missing or str(getattr(error, "missing", "record"))
    parts = [error.what, error.where and f"({error.where})", error.why]
    finding = Finding(name, "missing", " ".join(part for part in parts if part))
    return Reproduction(
        version.name, version.version, version.run_id, "impossible", (finding,), next=error.next
    )


def _report(
    workspace: Workspace, version: ModelVersion, found: Reproduction, scratch: Path
) -> None:
    """Keep the report with the run, and tell it in a tag."""
    if version.run_id is None:
        return
    path = scratch / f"{iso(found.at).replace(':', '')}.json"
    facts = {**found.as_json(), "machine": platform.platform()}
    path.write_text(json.dumps(facts, indent=2) + "\n")
    client = workspace.mlflow()
    client.log_artifact(version.run_id, str(path), _REPORTS)
    client.set_tag(version.run_id, TAG, f"{found.verdict} at {iso(found.at)}")
