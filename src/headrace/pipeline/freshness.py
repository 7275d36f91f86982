"""Whether a table must be refreshed, and why: code, settings and inputs against the last refresh."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace import lakehouse
from headrace.freshness import Freshness
from headrace.pipeline import graph, store, streams

if TYPE_CHECKING:
    from headrace.pipeline.context import Context
    from headrace.pipeline.graph import Dataset, Source
    from headrace.pipeline.store import RefreshRecord

_WORDS = {
    "expectations": "its expectations changed",
    "partition_by": "its partition columns changed",
    "properties": "its table properties changed",
    "schema": "its declared columns changed",
    "conf": "the Spark configuration of its flows changed",
}


def judge(context: Context, name: str) -> Freshness:
    """Whether a table is what a refresh would make of it now."""
    dataset = context.datasets[name]
    if not dataset.is_stored:
        return Freshness(False, "a temporary view has no rows of its own")
    if store.unfinished(context.workspace.store, name):
        return Freshness(True, "its last refresh was interrupted")
    last = store.last_done(context.workspace.store, name)
    if last is None:
        return Freshness(True, "never refreshed")
    reason = (
        _table(context, name, last)
        or _settings(settings(context, dataset), last.settings)
        or _code(context, dataset, last)
        or _inputs(context, dataset, last)
    )
    return Freshness(reason is not None, reason or f"up to date at version {last.version}")


def code(context: Context, dataset: Dataset) -> str:
    """Digest of the code of a dataset and of the temporary views that it reads."""
    digest = hashlib.sha256()
    for member in (dataset, *context.views(dataset.name)):
        digest.update(f"{member.name} {member.code}\n".encode())
    return digest.hexdigest()


def settings(context: Context, dataset: Dataset) -> dict[str, Any]:
    """What the rows of a dataset depend on beside code and inputs, as JSON."""
    output = dataset.output
    wanted = context.expectations.get(dataset.name)
    declared = output.schema
    return {
        "expectations": wanted.model_dump(mode="json") if wanted is not None else {},
        "partition_by": list(output.partition_by),
        "properties": dict(output.properties),
        "schema": declared if declared is None or isinstance(declared, str) else declared.json(),
        "conf": {
            flow.name: dict(flow.conf)
            for member in (dataset, *context.views(dataset.name))
            for flow in member.flows
            if flow.conf
        },
        "configuration": dict(context.configuration),
    }


def inputs(
    context: Context, dataset: Dataset, read: Mapping[str, int | None]
) -> dict[str, dict[str, Any]]:
    """What a refresh remembers of its inputs.

    Args:
        read: versions that the query read, by table name.
    """
    tables: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    ids: dict[str, Any] = {}
    for source in graph.sources(context.datasets, dataset.name):
        if source.kind == "table":
            ids[source.name] = context.table_id(source.name)
        if source.streaming:
            continue
        if source.kind == "table":
            # A version that the query names does not become stale.
            if not source.reference.fixed:
                tables[source.name] = read.get(source.name, context.version(source.name))
        else:
            paths[source.name] = listing_digest(context, source.name)
    return {"tables": tables, "paths": paths, "ids": ids}


def listing_digest(context: Context, path: str) -> str | None:
    """Digest of the files below a path with sizes and times; ``None`` where it cannot be listed."""
    listing = context.listing(path)
    if listing is None:
        return None
    digest = hashlib.sha256()
    for file, status in listing:
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def changed_rows(location: Path, after: int, until: int) -> bool:
    """Whether rows changed between two versions; a compaction changes none."""
    if until <= after:
        return until < after
    added = lakehouse.added_files(location, after, until)
    return added is None or bool(added)


def _table(context: Context, name: str, last: RefreshRecord) -> str | None:
    now = context.version(name)
    if now is None:
        return "its table was deleted"
    if context.made_anew(name, last.inputs):
        return "someone else deleted its table and made another one"
    if last.version is not None and changed_rows(context.location(name), last.version, now):
        return f"someone else wrote version {now}; its last refresh made version {last.version}"
    return None


def _code(context: Context, dataset: Dataset, last: RefreshRecord) -> str | None:
    if code(context, dataset) == last.code:
        return None
    members = (dataset, *context.views(dataset.name))
    places = dict.fromkeys(flow.location.file for each in members for flow in each.flows)
    reason = f"code of {', '.join(places)} changed"
    if dataset.kind == "streaming_table":
        reason += "; rows already there stay as they are"
    return reason


def _settings(now: dict[str, Any], then: dict[str, Any]) -> str | None:
    for key, words in _WORDS.items():
        if now[key] != then.get(key):
            return words
    before, after = then.get("configuration", {}), now["configuration"]
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            return f"configuration {key} changed from {before.get(key)} to {after.get(key)}"
    return None


def _inputs(context: Context, dataset: Dataset, last: RefreshRecord) -> str | None:
    if dataset.kind == "streaming_table":
        return streams.news(context, dataset, last)
    then = last.inputs
    for source in graph.sources(context.datasets, dataset.name):
        if source.kind == "table":
            reason = _input_table(context, source, then)
        else:
            reason = _input_path(context, source.name, then["paths"].get(source.name))
        if reason:
            return reason
    return None


def _input_table(context: Context, source: Source, last: Mapping[str, Any]) -> str | None:
    name = source.name
    now, then = context.version(name), last["tables"].get(name)
    if now is None:
        return f"input {name} is not there"
    if context.made_anew(name, last):
        return f"input {name} was deleted and made again"
    if source.reference.fixed:
        return None
    if then is None:
        return f"input {name} is new"
    if changed_rows(context.location(name), then, now):
        return f"input {name} moved from version {then} to {now}"
    return None


def _input_path(context: Context, path: str, then: str | None) -> str | None:
    now = listing_digest(context, path)
    if now is None:
        return f"whether files in {context.shown(path)} changed cannot be told"
    return None if now == then else f"files in {context.shown(path)} changed"
