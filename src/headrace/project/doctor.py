"""Checks of this machine and this project, each with what to do when it fails."""

from __future__ import annotations

import platform
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final, Literal

from headrace.errors import HeadraceError
from headrace.settings import (
    SETTINGS,
    Paths,
    ProjectNotFoundError,
    find_project,
    flag_setting,
    port_setting,
    setting,
)

State = Literal["ok", "warning", "failed"]

#: Below this much free space a refresh may not finish.
FREE_BYTES: Final = 1 << 30


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, how it is, and what to type if it is not well."""

    name: str
    state: State
    found: str
    next: str = ""


def examine(start: Path | None = None) -> list[Check]:
    """Look at everything; a failed check does not stop the others."""
    checks = [_python(), *_packages(), *_settings()]
    try:
        paths = find_project(start)
    except ProjectNotFoundError as error:
        return [*checks, Check("project", "warning", error.what, error.next or "")]
    probes: tuple[Callable[[Paths], Check], ...] = (
        _project_file,
        _database,
        _environment_lock,
        _token,
        _disk,
        _tables,
        _pins,
        _evidence,
        _engine,
        _port,
    )
    return [*checks, *(_guarded(probe, paths) for probe in probes)]


def _guarded(probe: Callable[[Paths], Check], paths: Paths) -> Check:
    name = probe.__name__.strip("_").replace("_", " ")
    try:
        return probe(paths)
    except HeadraceError as error:
        found = error.what + (f" {error.where}" if error.where else "")
        if error.why:
            found += f": {error.why}"
        return Check(name, "failed", found, error.next or "")
    except Exception as error:  # noqa: BLE001  # whatever a check runs into is its finding
        return Check(name, "failed", f"{type(error).__name__}: {error}")


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.platform(terse=True)}"
    return Check("python", "ok", found)


def _packages() -> Iterator[Check]:
    """Installed versions against the requirements of this installation."""
    from packaging.requirements import Requirement

    missing, wrong = [], []
    for text in requires("headrace") or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            missing.append(requirement.name)
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed}, needs {requirement.specifier}")
    if missing or wrong:
        found = "; ".join([f"missing {name}" for name in missing] + wrong)
        yield Check("packages", "failed", found, "pip install -r requirements.lock")
        return
    shown = ("pysail", "pyspark-client", "deltalake", "mlflow", "scikit-learn")
    yield Check("packages", "ok", ", ".join(f"{name} {version(name)}" for name in shown))


def _settings() -> Iterator[Check]:
    changed = [s for s in SETTINGS.values() if s.value() != s.default]
    if changed:
        # A database address may hold a password: names only.
        yield Check("settings", "ok", "set: " + ", ".join(s.name for s in changed))


def _project_file(paths: Paths) -> Check:
    from headrace.project.config import load_project

    project = load_project(paths)
    parts: dict[str, Iterable[str]] = {
        "models": project.models,
        "endpoints": project.endpoints,
        "predictions": project.predictions,
    }
    listed = "; ".join(f"{name} {', '.join(found)}" for name, found in parts.items() if found)
    return Check("project file", "ok", f"{project.name}: {listed or 'nothing in it yet'}")


def _database(paths: Paths) -> Check:
    from headrace.catalog import Store

    store = Store.open(paths.database_url)
    try:
        return Check("database", "ok", store.url)
    finally:
        store.close()


def _environment_lock(paths: Paths) -> Check:
    from headrace.environments import PROJECT_LOCK, check_lock

    name, check = "environment lock", check_lock(paths.root)
    if check is None:
        return Check(name, "warning", f"no {PROJECT_LOCK}", "headrace lock")
    if check.ok:
        found = f"{len(check.lock.requirements)} distributions, as installed"
        return Check(name, "ok", found)
    state: State = "warning" if flag_setting("HEADRACE_ALLOW_DRIFT") else "failed"
    shown = "; ".join(check.lines[:3])
    if len(check.lines) > 3:
        shown += f"; and {len(check.lines) - 3} more"
    step = "headrace lock" if check.changed else f"python -m uv pip install -r {PROJECT_LOCK}"
    return Check(name, state, shown, step)


def _token(paths: Paths) -> Check:
    if not paths.token_file.exists():
        return Check("token", "warning", "not made yet", "headrace up makes it")
    mode = stat.S_IMODE(paths.token_file.stat().st_mode)
    if mode & 0o077:
        fix = f"chmod 600 {paths.token_file}"
        return Check("token", "failed", f"others can read it (mode {mode:o})", fix)
    return Check("token", "ok", "mode 600")


def _disk(paths: Paths) -> Check:
    free = shutil.disk_usage(paths.root).free
    found = f"{free / 2**30:.1f} GiB free"
    if free < FREE_BYTES:
        return Check("disk", "failed", found, "free space before headrace run")
    return Check("disk", "ok", found)


def _tables(paths: Paths) -> Check:
    from headrace import lakehouse
    from headrace.catalog import Catalog, Store

    store = Store.open(paths.database_url)
    try:
        entries = [entry for entry in Catalog(store, paths.warehouse).list() if entry.location]
        gone = [str(e.name) for e in entries if lakehouse.latest_version(e.location or "") is None]
    finally:
        store.close()
    if gone:
        found = f"no Delta log behind {', '.join(gone)}"
        return Check("tables", "failed", found, "headrace run rebuilds the pipeline's tables")
    return Check("tables", "ok", f"{len(entries)} tables, each with a readable Delta log")


def _pins(paths: Paths) -> Check:
    from headrace import pins
    from headrace.catalog import Catalog, Store

    store = Store.open(paths.database_url)
    try:
        count = len(pins.pinned(store))
        lost = pins.broken(store, Catalog(store, paths.warehouse))
    finally:
        store.close()
    if lost:
        named = ", ".join(dict.fromkeys(str(each.pin) for each in lost))
        found = f"{named} cannot be reproduced: {lost[0].why}"
        return Check("pins", "failed", found, "headrace pins shows what is gone")
    return Check("pins", "ok", f"{count} table versions that models need can be read")


def _evidence(paths: Paths) -> Check:
    from headrace.catalog import Store
    from headrace.evidence import Keys, verify_chain
    from headrace.evidence.rotation import signing

    keys = Keys(paths)
    public = keys.public()
    if not public:
        return Check("evidence", "warning", "no key signs yet", "headrace run makes it")
    store = Store.open(paths.database_url)
    try:
        chain = verify_chain(store, public)
        signer = signing(store, keys)
    finally:
        store.close()
    if not chain.ok:
        return Check("evidence", "failed", str(chain.problems[0]), "headrace verify --chain")
    found = f"{chain.length} statements in one chain"
    if not keys.has_private(signer):
        missing = f"{found}; the key that signs is not here, so nothing can be decided here"
        return Check("evidence", "warning", missing, "headrace key")
    keys.signer(signer)
    return Check("evidence", "ok", found)


def _engine(paths: Paths) -> Check:
    from headrace.workspace import open_workspace

    rows = open_workspace(paths.root).spark().sql("SELECT 1 AS one").collect()
    return Check(
        "engine", "ok" if rows[0][0] == 1 else "failed", SETTINGS["HEADRACE_ENGINE"].value()
    )


def _port(paths: Paths) -> Check:
    from headrace.endpoints.address import bind, read_plane
    from headrace.endpoints.errors import PortInUseError

    running = read_plane(paths)
    if running is not None:
        return Check("port", "ok", f"this project is served at {running.url}")
    host, port = setting("HEADRACE_HOST"), port_setting()
    try:
        bind(host, port).close()
    except PortInUseError as error:
        return Check("port", "warning", f"{host}:{port} is in use: {error.why}", error.next or "")
    return Check("port", "ok", f"{host}:{port} is free")
