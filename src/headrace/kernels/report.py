"""What was found out about a model's kernel, kept beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from headrace.kernels.errors import KernelDamagedError
from headrace.kernels.runtime import FORMAT, GRAPH, MANIFEST

DIRECTORY: Final = "kernel"


@dataclass(frozen=True)
class Check:
    """The same rows through original and kernel.

    Attributes:
        name: which rows.
        rows: how many.
        refused: of these, how many the kernel refuses, by what the original was found to refuse.
        difference: the largest distance of two scores, relative to scores above 1.
        labels: how many labels differ outside the margin round the threshold.
        agrees: the verdict.
        note: what a reader should know.
    """

    name: str
    rows: int
    refused: int = 0
    difference: float = 0.0
    labels: int = 0
    agrees: bool = True
    note: str | None = None


@dataclass(frozen=True)
class Report:
    """The proof of a kernel, or why there is none.

    Attributes:
        status: ``proven`` or ``refused``.
        reason: why it is refused.
        precision: in which the graph computes.
        tolerance: distance of two scores that counts as equal, relative to scores above 1.
        margin: labels may differ where a score is this close to the threshold, or the two best
            of several classes are this close to each other.
        digest: SHA-256 of the graph.
        checks: what was compared.
        notes: choices that were made, and why.
    """

    status: Literal["proven", "refused"]
    reason: str | None = None
    precision: str | None = None
    tolerance: float | None = None
    margin: float | None = None
    digest: str | None = None
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def proven(self) -> bool:
        """Whether the kernel may be used."""
        return self.status == "proven"

    @property
    def summary(self) -> str:
        """A line: the tag ``headrace.kernel`` of a version."""
        if not self.proven:
            return f"none: {self.reason}"
        return f"onnx {self.precision}, within {self.tolerance:.0e}".replace("e-0", "e-")


@dataclass(frozen=True)
class Layout:
    """What the runtime needs to feed and to read the graph.

    Attributes:
        columns: ``name``, ``type``, ``categories`` of texts in the order of their codes, and what
            the column ``refuses``.
        task, labels, threshold: of the model, see ``tracking.scorer``.
        classes: of several classes, the code that each column of scores stands for.
        link: what is still to be applied to the graph's output: ``sigmoid``, ``softmax``, ``exp``.
    """

    columns: list[dict[str, Any]]
    task: str
    labels: list[Any] | None
    classes: list[int] | None
    threshold: float
    link: str | None


def read_report(model: Path) -> Report | None:
    """The report in a model's directory; ``None`` where no kernel was ever tried.

    Raises:
        KernelDamagedError: the file holds something else.
    """
    try:
        found = json.loads((model / DIRECTORY / MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise KernelDamagedError(model, f"{MANIFEST} is no JSON: {error}") from error
    try:
        report = found["report"]
        return Report(
            **{
                **report,
                "status": found["status"],
                "reason": found["reason"],
                "digest": found["digest"],
                "checks": tuple(Check(**check) for check in report["checks"]),
                "notes": tuple(report["notes"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise KernelDamagedError(model, f"{MANIFEST} holds no report") from error


def manifest_of(report: Report, layout: Layout | None) -> bytes:
    """The text of ``kernel.json``."""
    body = asdict(report)
    head = {"format": FORMAT, **{name: body.pop(name) for name in ("status", "reason", "digest")}}
    shape = {} if layout is None else {"graph": GRAPH, **asdict(layout)}
    return json.dumps({**head, **shape, "report": body}, indent=1).encode()
