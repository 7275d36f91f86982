"""The end of the demo on a terminal: what is there now, and what to type next."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from headrace.cli.output import console, table
from headrace.cli.status import show_endpoints, show_models, show_tables
from headrace.demo.facts import now
from headrace.demo.story import ENDPOINT, MODEL, PREDICTIONS

if TYPE_CHECKING:
    from headrace.demo.story import Story


def show(story: Story) -> None:
    """Print the summary."""
    from headrace.cli.verify import show_verification
    from headrace.trace.render import print_trace

    out = console()
    print_trace(story.trace, out)
    show_verification(story.proof.verification)
    out.rule("[bold]What is there now")
    state = now(story)
    show_tables(state.tables)
    show_models(state.models)
    show_endpoints(state.endpoints)
    _show_traffic(story)
    _show_next(story)


def _show_traffic(story: Story) -> None:
    tally = story.traffic
    path = "  ".join(f"{shares['blue']}/{shares['green']}" for shares in story.shares)
    table(
        "Live traffic during the shift",
        ["requests served", "failed", "by version", "median", "blue/green in percent"],
        [
            (
                f"{tally.served:,}",
                tally.failed,
                ", ".join(
                    f"{version}: {count:,}" for version, count in sorted(tally.versions.items())
                ),
                f"{statistics.median(tally.milliseconds):.1f} ms",
                path,
            )
        ],
    )


def _show_next(story: Story) -> None:
    root = story.workspace.paths.root
    shown = root.name if root.parent == root.parent.cwd() else root
    prediction = story.traffic.last_prediction
    # An address of another database may hold a password.
    ours = story.workspace.store.dialect == "sqlite"
    database = "sqlite:///.headrace/headrace.db" if ours else '"$HEADRACE_DATABASE"'
    lines = [
        f"cd {shown}",
        "headrace status",
        f"headrace endpoints {ENDPOINT:<14}  # its rollout, decision by decision",
        "headrace run                       # does nothing: everything is fresh",
        f"headrace trace {prediction}",
        f"headrace verify {MODEL}@production --chain",
        f"headrace up                        # then POST /endpoints/{ENDPOINT}/invocations",
        f"mlflow ui --backend-store-uri {database}",
        f"python -c \"import deltalake; print(deltalake.DeltaTable('warehouse/main/"
        f"{PREDICTIONS.replace('.', '/')}').to_pandas())\"",
    ]
    out = console()
    out.print(f"\n[bold]Done in {story.seconds:.0f} s.[/] Next, with .venv/bin on the PATH:")
    for line in lines:
        out.print("  " + line, markup=False, soft_wrap=True)
