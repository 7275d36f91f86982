"""The environment that serves against the one that trained: by its lock, and by asking it."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.environments.compare import shown
from headrace.environments.lock import normal
from headrace.parity.errors import EnvironmentUnreadableError
from headrace.parity.knowledge import known_of

if TYPE_CHECKING:
    from headrace.environments import Environment, Lock
    from headrace.parity.record import Recorded

SECONDS: Final = 60.0
#: What a kernel's answers depend on, besides its graph.
RUNTIME: Final = ("onnxruntime", "numpy")
_ASK: Final = """
import json, platform
from importlib import metadata
found = {}
for each in metadata.distributions():
    read = each.metadata
    if read["Name"]:
        found.setdefault(read["Name"], read["Version"])
print(json.dumps({"python": platform.python_version(), "versions": found}))
"""


@dataclass(frozen=True)
class Installed:
    """What an interpreter can import.

    Attributes:
        python: its version.
        versions: of each distribution, by its normalised name.
    """

    python: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class EnvironmentDifference:
    """One line of the lock that the serving environment does not keep.

    Attributes:
        line: of the lock, such as ``scikit-learn==1.7.2``.
        found: the version that serves; ``None`` where it is not installed.
        known: what is known of such a difference.
        source: who says so.
        blocks: whether the model may not be used with it.
    """

    line: str
    found: str | None
    known: str | None = None
    source: str | None = None
    blocks: bool = True

    def __str__(self) -> str:
        has = "it is not installed" if self.found is None else f"{self.found} is installed"
        told = "" if self.known is None else f": {self.known}"
        return f"{self.line} trained, {has}{told}"


@dataclass(frozen=True)
class EnvironmentReport:
    """The comparison of two environments.

    Attributes:
        serves: ``kernel``, ``worker``, or ``pyfunc`` in the engine's own process.
        lock: digest of the lock that trained.
        python: version of the interpreter that serves.
        differences: lines that differ.
    """

    serves: str
    lock: str
    python: str
    differences: tuple[EnvironmentDifference, ...] = ()

    @property
    def agreed(self) -> bool:
        """Whether nothing that differs stands in the way."""
        return not any(each.blocks for each in self.differences)

    @property
    def reason(self) -> str | None:
        """The first line that differs."""
        return next((str(each) for each in self.differences if each.blocks), None)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "agreed": self.agreed, "reason": self.reason}


def here() -> Installed:
    """This interpreter."""
    found: dict[str, str] = {}
    # A distribution parses its file again for each of its attributes.
    for read in (each.metadata for each in metadata.distributions()):
        if read["Name"]:
            # The first on the path is the one that is imported.
            found.setdefault(normal(read["Name"]), read["Version"])
    return Installed(platform.python_version(), found)


def runtime_here() -> Installed:
    """What kernels need of this interpreter."""
    found = {}
    for name in RUNTIME:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return Installed(platform.python_version(), found)


def ask(python: Path, seconds: float = SECONDS) -> Installed:
    """What another interpreter says of itself, in a process of its own.

    Raises:
        EnvironmentUnreadableError: it does not start, or does not answer in time.
    """
    try:
        done = subprocess.run(  # noqa: S603  # the environment's own Python
            [str(python), "-I", "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        told = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise EnvironmentUnreadableError(python, f"no answer within {seconds:.0f} s") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or [f"exit status {error.returncode}"])[-1]
        raise EnvironmentUnreadableError(python, last[:300]) from error
    except (OSError, ValueError) as error:
        raise EnvironmentUnreadableError(python, str(error)) from error
    versions = {normal(name): version for name, version in told["versions"].items()}
    return Installed(told["python"], versions)


def installed_in(environment: Environment) -> Installed:
    """What the interpreter of an environment can import."""
    return here() if environment.current else ask(environment.python)


def compare_environment(lock: Lock, installed: Installed, serves: str) -> EnvironmentReport:
    """Each line of the lock that trained against what is importable where it is to be served."""
    found = [*_python(lock.python, installed.python), *_lines(lock.requirements, installed)]
    return EnvironmentReport(serves, lock.digest, installed.python, tuple(found))


def compare_runtime(
    recorded: Recorded | None, installed: Installed, digest: str
) -> EnvironmentReport:
    """A kernel needs no environment but ONNX Runtime and numpy.

    Other versions of these are told and block nothing: the answers themselves are compared.
    """
    trained = {} if recorded is None else recorded.libraries
    differences = []
    for name in RUNTIME:
        then, now = trained.get(name), installed.versions.get(name)
        if then is not None and then != now:
            differences.append(_difference(f"{name}=={then}", name, then, now, blocks=now is None))
    return EnvironmentReport("kernel", digest, installed.python, tuple(differences))


def _python(trained: str | None, served: str) -> list[EnvironmentDifference]:
    if trained is None or trained.split(".")[:2] == served.split(".")[:2]:
        return []
    return [_difference(f"Python {trained}", "python", trained, served)]


def _lines(lines: Iterable[str], installed: Installed) -> Iterable[EnvironmentDifference]:
    from packaging.requirements import InvalidRequirement, Requirement

    for line in lines:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            yield EnvironmentDifference(line, None, "the line cannot be read")
            continue
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        line, name = shown(line), normal(wanted.name)
        version = installed.versions.get(name)
        if version is None:
            yield EnvironmentDifference(line, None)
        elif wanted.url is None and not wanted.specifier.contains(version, prereleases=True):
            pinned = next((each.version for each in wanted.specifier if each.operator == "=="), "")
            yield _difference(line, name, pinned, version)


def _difference(
    line: str, name: str, trained: str, served: str | None, *, blocks: bool = True
) -> EnvironmentDifference:
    known = known_of(name, trained, served) if trained and served else None
    text, source = (None, None) if known is None else (known.text, known.source)
    return EnvironmentDifference(line, served, text, source, blocks)
