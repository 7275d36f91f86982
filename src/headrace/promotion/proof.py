"""Checking a version's evidence in its own project, where database and files are at hand."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.endpoints.records import model_directory
from headrace.evidence import About, Check, Keys, check_alias, evidence_of, find, verify
from headrace.evidence import verify_chain as examine
from headrace.evidence.errors import (
    AliasUnstatedError,
    BundleExistsError,
    EvidenceRefusedError,
    NoEvidenceError,
)
from headrace.evidence.statement import GRANTING
from headrace.ids import new_id
from headrace.promotion.statement import model_files
from headrace.registry import resolve

if TYPE_CHECKING:
    from headrace.evidence import Evidence, PublicKey, Verification
    from headrace.promotion.waiting import Waiting
    from headrace.registry import ModelVersion
    from headrace.workspace import Workspace


def prove(
    workspace: Workspace,
    reference: str,
    *,
    keys: Sequence[PublicKey] | None = None,
    model: Path | None = None,
) -> tuple[Evidence, Verification]:
    """Check the statement by which a version has its alias; else the newest one on it.

    Args:
        workspace: the project.
        reference: ``name@alias``, ``name/3``, or ``name`` for the newest version.
        keys: those that are trusted; the workspace's own if not given.
        model: directory of the files to compare; where MLflow has them if not given.

    Raises:
        RegistryError: there is no such version.
        NoEvidenceError: there is no statement on it.
    """
    version = resolve(workspace, reference)
    alias = reference.partition("@")[2] or None
    evidence = _chosen(workspace, version, alias)
    found = verify(
        evidence.envelope,
        keys if keys is not None else Keys(workspace.paths).public(),
        model=model or model_directory(workspace.store, version.model_id),
        about=About(version.name, version.version, alias),
    )
    more = [] if alias is None else list(_alias(workspace, version, alias, found))
    return evidence, replace(found, checks=(*found.checks, *more))


def prove_waiting(workspace: Workspace, waits: Waiting) -> None:
    """Let an approver sign what was stated: the numbers that he sees are rows of the database.

    Raises:
        EvidenceRefusedError: the statement that waits does not verify, or says something else.
    """
    ask = waits.ask
    about = About(ask.model, ask.version, ask.alias)
    stated = find(workspace.store, ask.evidence)
    problems = ["the statement that waits is not there"]
    if stated is not None:
        version = resolve(workspace, f"{ask.model}/{ask.version}")
        files = model_directory(workspace.store, version.model_id)
        keys = Keys(workspace.paths).public()
        found = verify(stated.envelope, keys, model=files, about=about)
        problems = found.problems
        if found.ok and (found.digest, found.kind) != (ask.evidence, "waiting"):
            problems = [f"the statement is another: {found.kind}"]
        elif found.ok and found.predicate["verdict"] != waits.decided.verdict.as_json():
            problems = ["the numbers in the database are not those that were signed"]
        elif found.ok and found.predicate["decided"]["by"] != ask.requester:
            problems = [f"{found.predicate['decided']['by']} asked for it, not {ask.requester}"]
    if problems:
        raise EvidenceRefusedError(ask.model, ask.version, ask.alias, problems)


def bundle(workspace: Workspace, evidence: Evidence, directory: Path) -> None:
    """Write all that another machine needs to verify a statement into a new directory.

    ``evidence.json``, ``public-key.pem`` with every key of the workspace, and ``model/``.

    Raises:
        BundleExistsError: the directory is there already.
        ModelNotLoadableError: the model's files cannot be read.
    """
    if directory.exists():
        raise BundleExistsError(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    staging = directory.with_name(f".{new_id('bundle')}")
    try:
        staging.mkdir()
        (staging / "evidence.json").write_bytes(evidence.envelope)
        keys = Keys(workspace.paths).public()
        (staging / "public-key.pem").write_text("".join(each.pem for each in keys))
        if evidence.version is not None:
            version = resolve(workspace, f"{evidence.model}/{evidence.version}")
            with model_files(workspace, version) as files:
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(files, staging / "model", ignore=ignore)
        staging.rename(directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def chain_checks(
    workspace: Workspace, keys: Sequence[PublicKey] | None = None, digest: str | None = None
) -> Iterator[Check]:
    """What there is to say of the project's chain.

    Args:
        workspace: the project.
        keys: those that are trusted; the workspace's own if not given.
        digest: of a statement that must be in it.
    """
    found = examine(workspace.store, keys if keys is not None else Keys(workspace.paths).public())
    for problem in found.problems:
        yield Check("chain", "failed", str(problem))
    if digest is not None and find(workspace.store, digest) is None:
        yield Check("chain", "failed", "this statement is not in the chain of this project")
    elif found.ok:
        last = f", the last is {found.digest}" if found.digest else ""
        yield Check("chain", "ok", f"{found.length} statements, none is missing{last}")


def _chosen(workspace: Workspace, version: ModelVersion, alias: str | None) -> Evidence:
    known = evidence_of(workspace.store, version.name, version.version)
    wanted = [each for each in known if alias is None or each.alias == alias]
    granting = [each for each in wanted if each.kind in GRANTING]
    if not known:
        raise NoEvidenceError(version.name, version.version)
    return next(iter(granting or wanted or known))


def _alias(
    workspace: Workspace, version: ModelVersion, alias: str, found: Verification
) -> Iterator[Check]:
    """Whether the version may have the alias that it has."""
    if found.statement is not None and found.kind not in GRANTING:
        yield Check("alias", "failed", f"no statement gives it {alias}: this one is {found.kind}")
        return
    try:
        check_alias(workspace.store, version.name, version.version, alias)
    except AliasUnstatedError as error:
        yield Check("alias", "failed", str(error.why))
    else:
        yield Check("alias", "ok", f"{alias} leads to it, as the last statement on it says")
