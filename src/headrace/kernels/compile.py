"""A logged model becomes a graph, is compared with the original, and is stored beside it."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.ids import new_id
from headrace.kernels import proof
from headrace.kernels.convert import compiled
from headrace.kernels.errors import KernelDamagedError, NotCompilableError
from headrace.kernels.original import load_original
from headrace.kernels.report import DIRECTORY, Layout, Report, manifest_of, read_report
from headrace.kernels.runtime import GRAPH, MANIFEST, Kernel, UnusableKernelError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def compile_model(model: Path, rows: pd.DataFrame | None = None) -> Report:
    """Make a model's kernel and prove it; replaces the one it has.

    Args:
        model: the directory of a model that a training logged.
        rows: rows to compare on besides generated ones; may have more columns than the model.

    Returns:
        The report, which ``model/kernel/kernel.json`` holds too. A model that cannot be compiled
        or does not agree gives a report with status ``refused`` and no graph: it is scored by a
        worker.

    Raises:
        OSError: the files cannot be written.
    """
    try:
        original = load_original(model)
        made = compiled(original)
        report, layout = proof.prove(original, made, rows)
    except NotCompilableError as refusal:
        return _store(model, Report("refused", str(refusal)), None, None)
    except Exception as error:
        # Loading, converting and asking a model runs foreign code: what it raises is the reason.
        log.info("%s: no kernel", model, exc_info=True)
        reason = f"{type(error).__name__}: {_first_line(error)}"
        return _store(model, Report("refused", reason), None, None)
    if not report.proven:
        return _store(model, report, None, None)
    return _store(model, replace(report, digest=_digest(made.graph)), layout, made.graph)


def ensure_kernel(model: Path) -> Report:
    """The report of a model's kernel, which is made where none was ever tried, or it is damaged."""
    return report_on_disk(model) or compile_model(model)


def report_on_disk(model: Path) -> Report | None:
    """The report that was kept; ``None`` where there is none that can be read."""
    try:
        return read_report(model)
    except KernelDamagedError:
        log.warning("%s: its kernel is damaged, and made again", model)
        return None


def load_kernel(model: Path, threads: int = 1) -> Kernel | None:
    """The kernel of a model; ``None`` where it has none, or was refused one.

    Raises:
        KernelDamagedError: its files are not those that were proven.
    """
    try:
        report = read_report(model)
        if report is None or not report.proven:
            return None
        return Kernel(model / DIRECTORY, threads)
    except UnusableKernelError as error:
        raise KernelDamagedError(model, _first_line(error)) from error


def _store(model: Path, report: Report, layout: Layout | None, graph: bytes | None) -> Report:
    """Write the graph first and the manifest, which names its digest, last; each at once."""
    home = model / DIRECTORY
    home.mkdir(exist_ok=True)
    if graph is None:
        _replace(home / MANIFEST, manifest_of(report, layout))
        (home / GRAPH).unlink(missing_ok=True)
    else:
        (home / MANIFEST).unlink(missing_ok=True)
        _replace(home / GRAPH, graph)
        _replace(home / MANIFEST, manifest_of(report, layout))
    return report


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(new_id("partial"))
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _digest(graph: bytes) -> str:
    return hashlib.sha256(graph).hexdigest()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
