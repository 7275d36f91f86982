"""``headrace lock``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.options import debug_option, json_option

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.environments import Lock, LockCheck


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit 1 where something differs.")
@click.option("--upgrade", is_flag=True, help="Take the newest versions that fit.")
@click.option("--offline", is_flag=True, help="Resolve from uv's cache, without a network.")
@click.option("--from-environment", is_flag=True, help="Lock what is installed here, unresolved.")
@json_option
@debug_option
@click.pass_context
def command(
    ctx: click.Context,
    check: bool,
    upgrade: bool,
    offline: bool,
    from_environment: bool,
    as_json: bool,
) -> None:
    """Lock requirements.txt: every library at one version, with hashes, on every platform.

    Training refuses to run in an environment that is not the lock. Versions stay as they are in
    the lock, or as they are installed where there is no lock yet, unless --upgrade says
    otherwise.
    """
    from headrace import environments
    from headrace.cli.output import working
    from headrace.environments import PROJECT_LOCK, ProjectLockNotFoundError
    from headrace.settings import find_project

    if from_environment and (upgrade or offline or check):
        raise click.UsageError("--from-environment goes with no other of these options")
    root = find_project().root
    before = environments.project_lock(root)
    if not check:
        with working("resolving"):
            if from_environment:
                made = environments.from_environment(root)
            else:
                made = environments.resolve(root, upgrade=upgrade, offline=offline)
        environments.write_lock(root, made)
    found = environments.check_lock(root)
    if found is None:
        raise ProjectLockNotFoundError(root / PROJECT_LOCK)
    _show(root, before, found, as_json, written=not check)
    ctx.exit(1 if check and not found.ok else 0)


def _show(
    root: Path, before: Lock | None, found: LockCheck, as_json: bool, *, written: bool
) -> None:
    from headrace.cli.output import counted, echo_json, table
    from headrace.environments import PROJECT_LOCK, locked_versions

    held, old = locked_versions(found.lock), {} if before is None else locked_versions(before)
    moved = [
        (name, old.get(name, "-"), held.get(name, "-"))
        for name in sorted({*held, *old})
        if held.get(name) != old.get(name)
    ]
    if as_json:
        echo_json(
            {
                "lock": str(root / PROJECT_LOCK),
                "digest": found.lock.digest,
                "python": found.lock.python,
                "distributions": held,
                "moved": [dict(zip(("name", "from", "to"), row, strict=True)) for row in moved]
                if written
                else [],
                "changed": list(found.changed),
                "drift": list(found.drift),
                "ok": found.ok,
            }
        )
        return
    if written and before is not None and moved:
        table("Moved", ["distribution", "from", "to"], moved)
    said = f"{PROJECT_LOCK}: {counted(len(held), 'distribution')}, Python {found.lock.python}"
    click.echo(f"{said}, sha256 {found.lock.digest[:12]}")
    for line in found.changed:
        click.secho(f"  {line}", fg="yellow")
    if found.changed:
        click.echo("Next:  headrace lock")
        return
    if not found.drift:
        click.echo("This environment is the lock.")
        return
    click.echo(f"This environment differs in {counted(len(found.drift), 'line')}:")
    for line in found.drift:
        click.secho(f"  {line}", fg="yellow")
    click.echo(f"Next:  python -m uv pip install -r {PROJECT_LOCK}")
