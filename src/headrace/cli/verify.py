"""``headrace verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.options import debug_option, json_option

if TYPE_CHECKING:
    from headrace.evidence import Check, PublicKey, Verification
    from headrace.workspace import Workspace

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("what", metavar="[FILE | MODEL@ALIAS | MODEL/VERSION]", required=False)
@click.option(
    "--model",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Directory of the model's files to compare.",
)
@click.option(
    "--key", "keys", type=_FILE, multiple=True, help="Public key to trust (PEM); can be repeated."
)
@click.option("--chain", is_flag=True, help="Look at every statement of the project.")
@click.option("-o", "--output", type=_FILE, help="Write the evidence to a file.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    help="Write evidence, public key and model to a new directory.",
)
@json_option
@debug_option
@click.pass_context
def command(
    ctx: click.Context,
    what: str | None,
    model: Path | None,
    keys: tuple[Path, ...],
    chain: bool,
    output: Path | None,
    bundle: Path | None,
    as_json: bool,
) -> None:
    """Check the evidence of a model version; exit 1 if it does not hold.

    A FILE is checked offline: all it takes is the file, the model's directory and the public key
    (headrace key export). In a project the key is the project's, and the files are where they are.
    """
    from headrace.evidence.keys import read_public

    trusted = [key for path in keys for key in read_public(path)] or None
    if what is None:
        if not chain or model or output or bundle:
            raise click.UsageError("name a FILE or a version, or give --chain alone")
        found, envelope = _chain_alone(trusted), b""
    elif Path(what).is_file() or what.endswith(".json"):
        if bundle:
            raise click.UsageError("--bundle takes MODEL@ALIAS or MODEL/VERSION")
        found, envelope = _file(Path(what), model, trusted, chain)
    else:
        found, envelope = _version(what, model, trusted, chain, bundle)
    if output is not None:
        from headrace.cli.output import write_whole

        write_whole(output, envelope)
    if as_json:
        from headrace.cli.output import echo_json

        echo_json(found.as_json())
    else:
        show_verification(found)
        for path in filter(None, (output, bundle)):
            click.echo(f"Wrote {path}")
    ctx.exit(0 if found.ok else 1)


def _file(
    path: Path, model: Path | None, keys: list[PublicKey] | None, chain: bool
) -> tuple[Verification, bytes]:
    from headrace.evidence import Keys, verify
    from headrace.evidence.errors import NoKeyToTrustError
    from headrace.settings import ProjectNotFoundError, find_project

    envelope = path.read_bytes()
    if keys is None:
        try:
            keys = Keys(find_project()).public()
        except ProjectNotFoundError as error:
            raise NoKeyToTrustError(path) from error
    found = verify(envelope, keys, model=model)
    if not chain:
        return found, envelope
    return _with_chain(found, keys, _workspace()), envelope


def _version(
    reference: str,
    model: Path | None,
    keys: list[PublicKey] | None,
    chain: bool,
    bundle: Path | None,
) -> tuple[Verification, bytes]:
    from headrace.promotion.proof import bundle as write_bundle
    from headrace.promotion.proof import prove

    workspace = _workspace()
    evidence, found = prove(workspace, reference, keys=keys, model=model)
    if chain:
        found = _with_chain(found, keys, workspace)
    if bundle is not None:
        write_bundle(workspace, evidence, bundle)
    return found, evidence.envelope


def _chain_alone(keys: list[PublicKey] | None) -> Verification:
    from headrace.evidence import Verification
    from headrace.promotion.proof import chain_checks

    checks = tuple(chain_checks(_workspace(), keys))
    return Verification("", {}, checks)


def _with_chain(
    found: Verification, keys: list[PublicKey] | None, workspace: Workspace
) -> Verification:
    from dataclasses import replace

    from headrace.promotion.proof import chain_checks

    more = chain_checks(workspace, keys, found.digest)
    return replace(found, checks=(*found.checks, *more))


def _workspace() -> Workspace:
    from headrace.workspace import open_workspace

    return open_workspace()


def show_verification(found: Verification) -> None:
    """Print what was checked, what it rests on, and the outcome."""
    from headrace.cli.output import console, table

    title = found.subject or ("The chain" if found.statement == {} else "Evidence")
    rows = [(_word(check), check.name, check.found) for check in found.checks]
    table(title, ["state", "check", "found"], rows, whole="check")
    facts = _facts(found)
    if facts:
        table("What it rests on", ["fact", "value"], facts, whole="fact")
    out = console()
    if not found.ok:
        out.print("[bold red]NOT VERIFIED[/]")
    elif found.kind == "overridden":
        out.print("[bold yellow]VERIFIED, AND OVERRIDDEN: the gate did not let it through[/]")
    else:
        out.print("[bold green]VERIFIED[/]")


def _word(check: Check) -> str:
    return {"skipped": "not checked"}.get(check.state, check.state)


def _facts(found: Verification) -> list[tuple[str, str]]:
    """What the statement rests on, for a person; only of one whose signature is good."""
    says = found.predicate
    if not says or says.get("kind") == "key":
        return []
    facts: list[tuple[str, Any]] = [
        ("digest", found.digest),
        ("previous", says.get("previous") or "none: it is the first"),
        ("model id", (says.get("model") or {}).get("model_id")),
        ("read", ", ".join(map(_read, says.get("inputs") or []))),
        ("hold-out", _holdout(says.get("holdout") or {})),
        ("code", _code(says.get("code") or {})),
        ("environment", (says.get("environment") or {}).get("digest")),
    ]
    return [(name, str(value)) for name, value in facts if value]


def _read(entry: dict[str, Any]) -> str:
    version = entry.get("version")
    return f"{entry.get('name')}" + ("" if version is None else f" version {version}")


def _holdout(entry: dict[str, Any]) -> str:
    if not entry:
        return ""
    rows, table = entry.get("rows"), entry.get("table")
    return f"{rows:,} rows of {table} version {entry.get('version')}, {entry.get('digest')}"


def _code(entry: dict[str, Any]) -> str:
    git = entry.get("git") or {}
    commit = f", commit {git['commit'][:12]}" if git.get("commit") else ""
    return f"{entry.get('digest') or ''}{commit}{' and changes' if git.get('dirty') else ''}"
