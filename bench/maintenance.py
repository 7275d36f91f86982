"""Maintenance of a table of 10,000 files, with and without pins, against delta-rs alone.

The other side is what delta-rs's documentation advises for upkeep: ``optimize.compact()``,
``create_checkpoint()``, ``vacuum()``, ``cleanup_metadata()``. It keeps no pinned version, which
is what the last rows show.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parent.parent / ".bench"
COMMAND = "python -m bench.maintenance"
#: How long ago the table was written; beyond each retention.
AGE = timedelta(days=60)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--files", type=int, default=10_000)
    arguments.add_argument("--rows", type=int, default=100, help="rows of each file")
    arguments.add_argument("--pins", type=int, default=20)
    options = arguments.parse_args()
    HOME.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOME) as scratch:
        results = compare(Path(scratch), options.files, options.rows, options.pins)
    (HOME / "proof-maintenance.json").write_text(json.dumps(results, indent=2) + "\n")
    show(results)


def compare(scratch: Path, files: int, rows: int, pins: int) -> list[dict[str, Any]]:
    """The figures of both, on copies of one table."""
    original = scratch / "original"
    print(f"writing {files:,} files", file=sys.stderr)
    write(original, files, rows)
    kept = [files * (number + 1) // (pins + 1) for number in range(pins)]
    work = f"maintain a table of {files:,} files"
    plain = plain_delta(copy(original, scratch / "plain"))
    ours = headrace(scratch / "ours", original, [])
    pinned = headrace(scratch / "pinned", original, kept)
    names = (f"headrace, {pins} pins", "headrace, no pins", "delta-rs alone")
    figures = [
        *ratios(work, dict(zip(names, (pinned, ours, plain), strict=True)), "seconds", "s"),
        row(f"{work}: look at pins, as status does", names[0], pinned["broken"], "s"),
        row(f"{work}: the same again, nothing changed", names[0], pinned["broken_again"], "s"),
        row(f"{work}: maintain again, nothing to do", names[0], pinned["again"], "s"),
    ]
    for name, found in ((names[0], pinned), (names[2], plain)):
        readable = sum(count_readable(found["location"], kept))
        figures.append(row(f"{work}: pinned versions that read back", name, readable, "versions"))
        figures.append(row(f"{work}: files afterwards", name, found["files"], "files"))
    return figures


def write(location: Path, files: int, rows: int) -> None:
    """A table that got one small file a commit long ago, and whose rows were replaced half way.

    The first commit is delta-rs's; the others have its form, and are written without it, which
    would look at the whole table for each of them.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from deltalake import write_deltalake

    random = np.random.default_rng(0)
    schema = pa.schema([("device", pa.int64()), ("load", pa.float64())])
    write_deltalake(str(location), schema.empty_table())
    began = datetime.now(UTC) - AGE
    first = location / "_delta_log" / f"{0:020}.json"
    made = [json.loads(line) for line in first.read_text().splitlines()]
    for action in made:
        if "commitInfo" in action:
            action["commitInfo"]["timestamp"] = int(began.timestamp() * 1000)
    first.write_text("\n".join(json.dumps(action) for action in made))
    live: list[dict[str, Any]] = []
    for version in range(1, files + 1):
        moment = int((began + timedelta(seconds=version)).timestamp() * 1000)
        columns = [random.integers(0, 1000, rows), random.uniform(0, 1, rows)]
        name = f"part-{version:05}.parquet"
        pq.write_table(pa.table(columns, schema=schema), location / name)
        add = {
            "path": name,
            "partitionValues": {},
            "size": (location / name).stat().st_size,
            "modificationTime": moment,
            "dataChange": True,
            "stats": json.dumps({"numRecords": rows}),
        }
        mode = "Overwrite" if version == files // 2 else "Append"
        removed, live = (live, []) if mode == "Overwrite" else ([], live)
        live.append(add)
        information = {"timestamp": moment, "operation": "WRITE"}
        actions: list[dict[str, Any]] = [
            {"commitInfo": {**information, "operationParameters": {"mode": mode}}},
            *({"remove": _removal(each, moment)} for each in removed),
            {"add": add},
        ]
        commit = location / "_delta_log" / f"{version:020}.json"
        commit.write_text("\n".join(json.dumps(action) for action in actions))
    for file in location.rglob("*"):
        os.utime(file, (began.timestamp(), began.timestamp()))


def _removal(add: dict[str, Any], moment: int) -> dict[str, Any]:
    return {
        "path": add["path"],
        "deletionTimestamp": moment,
        "dataChange": True,
        "extendedFileMetadata": True,
        "partitionValues": {},
        "size": add["size"],
    }


def copy(original: Path, target: Path) -> Path:
    shutil.copytree(original, target)
    return target


def plain_delta(location: Path) -> dict[str, Any]:
    """What delta-rs's documentation advises."""
    from deltalake import DeltaTable

    began = time.perf_counter()
    table = DeltaTable(str(location))
    table.optimize.compact()
    table.create_checkpoint()
    table.vacuum(dry_run=False, full=True)
    table.cleanup_metadata()
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "location": location, "files": count(location)}


def headrace(root: Path, original: Path, versions: list[int]) -> dict[str, Any]:
    """``headrace maintain`` on a project with that table, and what follows it."""
    from headrace import lakehouse, pins
    from headrace.catalog import Access
    from headrace.maintenance import MaintenanceSpec, maintain
    from headrace.workspace import open_workspace

    root.mkdir()
    (root / "headrace.yaml").write_text("name: bench\n")
    workspace = open_workspace(root)
    location = Path(str(workspace.catalog.create_table("raw.events").location))
    location.parent.mkdir(parents=True)
    copy(original, location)
    table_id = lakehouse.table_id(location)
    with workspace.store.begin() as connection:
        for number, version in enumerate(versions):
            access = Access("table", "main.raw.events", version)
            pins.pin(connection, "m", number + 1, [pins.Need(access, "trained on", table_id)])
    pins.protect(workspace, ["main.raw.events"])

    def timed(action: Any) -> float:
        began = time.perf_counter()
        action()
        return time.perf_counter() - began

    def look() -> None:
        if pins.broken(workspace.store, workspace.catalog):
            raise RuntimeError("a pin is broken")

    found: dict[str, Any] = {"location": location, "broken": timed(look)}
    found["broken_again"] = timed(look)
    reports = []
    found["seconds"] = timed(lambda: reports.extend(maintain(workspace, MaintenanceSpec())))
    if reports[0].state != "done":
        raise RuntimeError(reports[0].reason)
    found["again"] = timed(lambda: maintain(workspace, MaintenanceSpec()))
    look()
    found["files"] = count(location)
    workspace.close()
    return found


def count(location: Path) -> int:
    return sum(1 for file in location.rglob("*") if file.is_file())


def count_readable(location: Path, versions: list[int]) -> list[bool]:
    """Whether each version reads back, through delta-rs alone."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    found = []
    for version in versions:
        try:
            rows = DeltaTable(str(location), version=version).to_pyarrow_table().num_rows
            found.append(rows > 0)
        except (DeltaError, OSError):
            found.append(False)
    return found


def ratios(
    work: str, found: dict[str, dict[str, Any]], key: str, unit: str
) -> list[dict[str, Any]]:
    """Rows of one work; ``ratio`` is the other system's figure over the first one's."""
    first = next(iter(found.values()))[key]
    return [row(work, name, value[key], unit, value[key] / first) for name, value in found.items()]


def row(
    work: str, system: str, value: float, unit: str, ratio: float | None = None
) -> dict[str, Any]:
    return {
        "work": work,
        "system": system,
        "value": round(value, 3),
        "unit": unit,
        "ratio": None if ratio is None else round(ratio, 2),
        "command": COMMAND,
    }


def show(results: list[dict[str, Any]]) -> None:
    from headrace.cli.output import table

    table(
        "Maintenance (ratio: how many times the first system's figure)",
        ["work", "system", "value", "unit", "ratio"],
        [
            (r["work"], r["system"], f"{r['value']:,.2f}", r["unit"], r["ratio"] or "")
            for r in results
        ],
        right="value,ratio",
    )


if __name__ == "__main__":
    main()
