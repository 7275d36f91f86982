"""Settings from the environment, secrets, and where a project keeps its state.

One table, ``SETTINGS``, feeds the code, ``headrace doctor`` and ``docs/settings.md``.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.errors import HeadraceError

PROJECT_FILE: Final = "headrace.yaml"


@dataclass(frozen=True)
class Setting:
    """One setting: the environment variable, its default, and what it does."""

    name: str
    default: str
    help: str

    def value(self) -> str:
        """The value in force: the environment variable, or the default."""
        return os.environ.get(self.name, self.default)


SETTINGS: Final = {
    setting.name: setting
    for setting in (
        Setting(
            "HEADRACE_PROJECT", "", "The project directory; else the nearest headrace.yaml upwards."
        ),
        Setting(
            "HEADRACE_CONF",
            "",
            "Pipeline configuration that overrides the files: key=value;key=value.",
        ),
        Setting(
            "HEADRACE_DATABASE",
            "",
            "SQLAlchemy URL of the database; else SQLite inside the project.",
        ),
        Setting(
            "HEADRACE_ENGINE", "sail", "Spark Connect engine: sail (embedded), or an sc:// address."
        ),
        Setting("HEADRACE_HOST", "127.0.0.1", "Address that `headrace up` listens on."),
        Setting("HEADRACE_PORT", "8351", "Port of the scoring plane."),
        Setting(
            "HEADRACE_CONTROL_PORT",
            "8350",
            "Port of the control plane: MLflow's server and its pages, guarded.",
        ),
        Setting(
            "HEADRACE_KEYS",
            "~/.config/headrace/keys",
            "Where the keys of people who approve are kept, one a name.",
        ),
        Setting(
            "HEADRACE_ENVIRONMENTS",
            "~/.cache/headrace/environments",
            "Where environments that uv built are kept, one a lock.",
        ),
        Setting(
            "HEADRACE_WHEELS",
            "",
            "Directory of wheels that environments are built from before any index is asked.",
        ),
        Setting(
            "HEADRACE_ALLOW_DRIFT",
            "",
            "1: train also where the environment is not the project's lock; recorded.",
        ),
        Setting(
            "HEADRACE_TLS_CERT",
            "",
            "Certificate chain (PEM) to serve https with; relative to the project.",
        ),
        Setting("HEADRACE_TLS_KEY", "", "Private key (PEM) of HEADRACE_TLS_CERT."),
        Setting(
            "HEADRACE_TOKEN",
            "",
            "Bearer token for a scoring plane asked by its address; else the project's.",
        ),
        Setting("HEADRACE_USER", "", "Who acts; else the name of the operating system's user."),
        Setting("HEADRACE_LOG", "warning", "Level of the log on standard error."),
        Setting("HEADRACE_LOG_FORMAT", "text", "Lines of the log: text, or json."),
    )
}


def setting(name: str) -> str:
    """The value of a setting of the table.

    Raises:
        KeyError: the name is not in ``SETTINGS``.
    """
    return SETTINGS[name].value()


class InvalidSettingError(HeadraceError):
    """An environment variable with a value that cannot be used."""

    code = "invalid_setting"

    def __init__(self, name: str, value: str, why: str, example: str) -> None:
        self.name, self.value = name, value
        super().__init__(
            f'{name} cannot be "{value}".',
            where=f"the environment variable {name}",
            why=why,
            next=f"export {name}={example}",
        )


def port_setting(name: str = "HEADRACE_PORT") -> int:
    """The port that a setting names.

    Raises:
        InvalidSettingError: it is no whole number.
    """
    text = setting(name)
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise InvalidSettingError(
            name, text, "a port is a number from 0 to 65535", SETTINGS[name].default
        )
    return int(text)


def flag_setting(name: str) -> bool:
    """Whether a setting is turned on: 1 or true; off by 0, false, or nothing.

    Raises:
        InvalidSettingError: it is another word.
    """
    text = setting(name).strip().lower()
    if text in ("", "0", "false"):
        return False
    if text in ("1", "true"):
        return True
    raise InvalidSettingError(name, text, "it is turned on by 1 and off by 0", "1")


class Secret:
    """A string that neither prints nor formats; ``reveal()`` is the only way to its text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself."""
        return self._text

    def matches(self, other: str) -> bool:
        """Whether ``other`` is the secret, in time that does not depend on where they differ."""
        return secrets.compare_digest(self._text.encode(), other.encode())

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


class PathNotSupportedError(HeadraceError):
    """A directory whose name the engines spell in different ways."""

    code = "path_not_supported"

    def __init__(self, path: Path, characters: str) -> None:
        self.path = path
        self.characters = characters
        super().__init__(
            "Tables cannot be kept under this path.",
            where=str(path),
            why="Spark engines and Delta writers encode "
            + ", ".join("a space" if one == " " else f'"{one}"' for one in characters)
            + " differently, and would write to another directory without a word",
            next="move it to a path of ASCII letters, digits and . _ - + = @ ~ ,",
        )


class ProjectNotFoundError(HeadraceError):
    """No ``headrace.yaml`` at or above the directory."""

    code = "project_not_found"

    def __init__(self, looked_in: list[Path]) -> None:
        self.looked_in = looked_in
        super().__init__(
            f"No {PROJECT_FILE} here.",
            where=", ".join(str(path) for path in looked_in[:4]),
            why="the HEADRACE_PROJECT variable, then this directory and its parents, hold none",
            next="headrace init my-project --template device-health",
        )


@dataclass(frozen=True)
class Paths:
    """Where a project keeps what it makes. Everything hangs below the project directory."""

    root: Path

    @property
    def project_file(self) -> Path:
        """``headrace.yaml``."""
        return self.root / PROJECT_FILE

    @property
    def state(self) -> Path:
        """The directory of everything that is neither source nor table data."""
        return self.root / ".headrace"

    @property
    def warehouse(self) -> Path:
        """Root of the Delta tables: ``warehouse/<catalog>/<schema>/<table>``."""
        return self.root / "warehouse"

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the one database that MLflow and the control tables share."""
        return setting("HEADRACE_DATABASE") or f"sqlite:///{self.state / 'headrace.db'}"

    @property
    def artifacts(self) -> Path:
        """Root of MLflow's artifacts."""
        return self.state / "artifacts"

    @property
    def spool(self) -> Path:
        """Request logs of the scoring plane that are not yet in Delta."""
        return self.state / "spool"

    @property
    def temporary(self) -> Path:
        """Scratch space of this project alone, mode 0700."""
        return self.state / "tmp"

    @property
    def token_file(self) -> Path:
        """The bearer token of the scoring plane, mode 0600."""
        return self.state / "token"

    @property
    def run_lock(self) -> Path:
        """Held by the one ``headrace run`` that may change the project."""
        return self.state / "run.lock"

    def make(self) -> None:
        """Create the directories. Idempotent; the state directory is private to its owner."""
        for path in (self.state, self.artifacts, self.spool, self.temporary):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)
        self.warehouse.mkdir(exist_ok=True)


def check_path(path: Path) -> Path:
    """The absolute path, if every engine finds a table below it under that very name.

    Raises:
        PathNotSupportedError: it has a space, a percent sign, a letter outside ASCII or the like.
    """
    absolute = path.absolute()
    if odd := sorted(set(re.findall(r"[^A-Za-z0-9/._+=@~,-]", str(absolute)))):
        raise PathNotSupportedError(absolute, "".join(odd))
    return absolute


def find_project(start: Path | None = None) -> Paths:
    """The project at or above ``start`` (the working directory if not given).

    Raises:
        ProjectNotFoundError: no directory on the way up holds ``headrace.yaml``.
    """
    named = setting("HEADRACE_PROJECT")
    origin = (start or (Path(named) if named else Path.cwd())).resolve()
    looked_in = [origin, *origin.parents]
    for directory in looked_in:
        if (directory / PROJECT_FILE).is_file():
            return Paths(directory)
    raise ProjectNotFoundError(looked_in)


def read_token(paths: Paths) -> Secret:
    """The scoring plane's bearer token, made on first use with mode 0600."""
    if not paths.token_file.exists():
        paths.make()
        fresh = paths.token_file.with_suffix(f".{secrets.token_hex(4)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        try:
            # If another process made it first, its token is the project's.
            with suppress(FileExistsError):
                os.link(fresh, paths.token_file)
        finally:
            fresh.unlink()
    return Secret(paths.token_file.read_text().strip())
