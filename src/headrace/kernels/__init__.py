"""Kernels: a model as an ONNX graph, proven equal to the original before it is used.

::

    report = compile_model(Path(directory), rows)     # writes directory/kernel/
    report.summary                                    # onnx float64, within 1e-9
    kernel = load_kernel(Path(directory))
    kernel.predict({"heat": heat, "shake": shake}, rows=len(heat))["score"]
"""

from __future__ import annotations

from headrace.kernels.compile import compile_model as compile_model
from headrace.kernels.compile import ensure_kernel as ensure_kernel
from headrace.kernels.compile import load_kernel as load_kernel
from headrace.kernels.compile import report_on_disk as report_on_disk
from headrace.kernels.errors import KernelDamagedError as KernelDamagedError
from headrace.kernels.proof import ROWS as PROOF_ROWS
from headrace.kernels.report import Check as Check
from headrace.kernels.report import Report as Report
from headrace.kernels.report import read_report as read_report
from headrace.kernels.runtime import Kernel as Kernel
from headrace.kernels.runtime import RefusedValueError as RefusedValueError
from headrace.kernels.runtime import UnusableKernelError as UnusableKernelError

__all__ = [
    "PROOF_ROWS",
    "Check",
    "Kernel",
    "KernelDamagedError",
    "RefusedValueError",
    "Report",
    "UnusableKernelError",
    "compile_model",
    "ensure_kernel",
    "load_kernel",
    "read_report",
    "report_on_disk",
]
