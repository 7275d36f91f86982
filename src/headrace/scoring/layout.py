"""The kernel of a model as batch scoring runs it: laid out for many rows, with the same bits."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.ids import new_id
from headrace.kernels import KernelDamagedError
from headrace.kernels.report import DIRECTORY
from headrace.kernels.runtime import GRAPH, MANIFEST, session_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

log = logging.getLogger(__name__)

_LAID_OUT = "kernel-batch"
_COMPARED_ROWS = 300
#: Inner nodes from which a forest outgrows a core's cache; a smaller one gains nothing.
LARGE = 25_000


def for_many_rows(model: Path) -> Path:
    """Directory of the kernel to score many rows with.

    Args:
        model: a private copy of a model's directory, with a proven kernel; gets the other layout
            of it once.

    Returns:
        The kernel laid out tree by tree (``kernels.blocks``), or the proven one itself where it
        has few nodes, or where the two would differ in a single bit.

    Raises:
        KernelDamagedError: the graph is not the one that was proven.
    """
    home, laid_out = model / DIRECTORY, model / _LAID_OUT
    if laid_out.is_dir():
        return laid_out
    from headrace.kernels.blocks import tree_by_tree

    manifest = json.loads((home / MANIFEST).read_bytes())
    graph = (home / GRAPH).read_bytes()
    if hashlib.sha256(graph).hexdigest() != manifest["digest"]:
        raise KernelDamagedError(model, f"{GRAPH} is not the graph that was proven")
    other = tree_by_tree(graph, LARGE)
    if other is None:
        return home
    if not _same_bits(graph, other):
        log.warning("%s: its trees one by one give other bits; it is used as it is", home)
        return home
    partial = model / new_id("partial")
    partial.mkdir()
    try:
        manifest["digest"] = hashlib.sha256(other).hexdigest()
        (partial / GRAPH).write_bytes(other)
        (partial / MANIFEST).write_text(json.dumps(manifest))
        try:
            partial.rename(laid_out)
        except OSError:
            if not laid_out.is_dir():  # else another process was first, with the same files
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return laid_out


def _same_bits(graph: bytes, other: bytes) -> bool:
    first, second = (session_of(each, threads=1) for each in (graph, other))
    given = first.get_inputs()[0]
    rows = _rows(graph, int(given.shape[1]))
    expected = first.run(None, {given.name: rows})[0].tobytes()
    singly = b"".join(first.run(None, {given.name: row[None]})[0].tobytes() for row in rows)
    found: Any = second.run(None, {given.name: rows})[0].tobytes()
    return bool(expected == singly == found)


def _rows(graph: bytes, width: int) -> npt.NDArray[np.float64]:
    """Rows made of the trees' own thresholds, which lead to leaves everywhere, and some nulls."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    splits = [
        numpy_helper.to_array(attribute.t)
        for node in onnx.load_model_from_string(graph).graph.node
        for attribute in node.attribute
        if attribute.name == "nodes_splits"
    ]
    random = np.random.default_rng(0)
    rows = random.choice(np.concatenate([*splits, np.zeros(1)]), (_COMPARED_ROWS, width))
    rows[random.random(rows.shape) < 0.02] = np.nan
    return rows
