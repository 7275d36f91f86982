"""Draw ``docs/demo.svg`` from a demo that has run: ``make demo picture``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from headrace.cli import output, status
from headrace.project.config import load_project
from headrace.project.status import status as project_status
from headrace.trace import trace_prediction
from headrace.trace.render import print_trace
from headrace.workspace import open_workspace

#: The picture names no font server: it uses the fonts of the reader.
PLAIN = re.sub(r"@font-face \{\{.*?\}\}|<!--.*?-->", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def newest_prediction(location: str) -> str:
    """Id of the last prediction in a request log."""
    from headrace import lakehouse

    ids = lakehouse.read(location, columns=["prediction_id"]).column("prediction_id").to_pylist()
    return str(max(ids))


def main(project: Path, target: Path) -> None:
    """Write the picture of a project's status and of one trace."""
    workspace = open_workspace(project)
    paper = Console(record=True, width=150, highlight=False, force_terminal=True, quiet=False)
    output.console = lambda: paper
    found = project_status(workspace, load_project(workspace.paths))
    status.show_tables(found.tables)
    status.show_expectations(found.tables)
    status.show_models(found.models)
    status.show_endpoints(found.endpoints)
    log = workspace.catalog.resolve(found.endpoints[0].table).location or ""
    print_trace(trace_prediction(workspace, newest_prediction(log)), paper)
    target.write_text(paper.export_svg(title="headrace status; headrace trace", code_format=PLAIN))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).resolve().parent.parent / "docs" / "demo.svg")
