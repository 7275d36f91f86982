"""The training source: its digest, its bundle, and the function loaded from it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import io
import os
import subprocess
import sys
import traceback
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.tracking.errors import TrainingSourceError

if TYPE_CHECKING:
    from types import ModuleType

    from headrace.tracking.spec import TrainingSpec

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold
_MODULE: Final = "headrace_training_source"


@dataclass(frozen=True)
class Source:
    """The training file and the project's modules that it imports.

    Attributes:
        files: path below the project -> text.
        digest: sha256 over the syntax trees: comments and layout do not count.
    """

    files: dict[str, str]
    digest: str

    def bundle(self) -> bytes:
        """A zip of the files; the same files give the same bytes."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in self.files.items():
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), text)
        return buffer.getvalue()


@dataclass(frozen=True)
class GitState:
    """The commit that is checked out, and whether files of the project differ from it."""

    commit: str
    dirty: bool


def read_source(root: Path, spec: TrainingSpec) -> Source:
    """The source that ``spec.train`` names, with the project's modules that it imports.

    Imports are read from the syntax, so nothing is executed.

    Raises:
        TrainingSourceError: the file is missing, outside the project, or no Python.
    """
    root = root.resolve()
    start = _locate(root, spec)
    trees: dict[Path, tuple[str, ast.Module]] = {}
    pending = [start]
    while pending:
        path = pending.pop()
        if path in trees:
            continue
        try:
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text)
        except (SyntaxError, UnicodeDecodeError) as error:
            line = getattr(error, "lineno", None)
            where = f"{path.relative_to(root)}:{line}" if line else str(path.relative_to(root))
            raise TrainingSourceError(spec.name, where, str(error)) from error
        trees[path] = text, tree
        pending.extend(_imports(tree, path, [root, start.parent], root))
    ordered = sorted((str(path.relative_to(root)), *parts) for path, parts in trees.items())
    if not any(
        isinstance(node, ast.FunctionDef) and node.name == spec.function
        for node in ast.walk(trees[start][1])
    ):
        raise TrainingSourceError(spec.name, spec.file, f"it defines no function {spec.function}")
    digest = hashlib.sha256()
    for name, _, tree in ordered:
        digest.update(f"{name}\0{ast.dump(tree)}\0".encode())
    return Source({name: text for name, text, _ in ordered}, digest.hexdigest())


@contextmanager
def training_function(root: Path, spec: TrainingSpec) -> Iterator[Callable[..., Any]]:
    """The training function, loaded anew; the project's modules can be imported meanwhile.

    Modules of the project that it imports are forgotten at the end, so that the next training
    sees the files as they are then. Their classes are pickled by value: a model made of them
    loads where the project is not.

    Raises:
        TrainingSourceError: the file cannot be imported, or has no such function.
    """
    import cloudpickle

    root = root.resolve()
    path = _locate(root, spec)
    # Modules that something else imported may be older than the files.
    stale = {module.__name__: module for module in _project_modules(root)}
    for name in stale:
        del sys.modules[name]
    saved = list(sys.path)
    # The file's directory comes last: training/xgboost.py must not hide the package.
    sys.path[:] = [str(root), *saved, str(path.parent)]
    try:
        module = _load(path, root, spec)
        function = getattr(module, spec.function, None)
        if not callable(function):
            raise TrainingSourceError(
                spec.name, spec.file, f"it defines no function {spec.function}"
            )
        for local in _project_modules(root):
            cloudpickle.register_pickle_by_value(local)
        yield function
    finally:
        for local in _project_modules(root):
            if local.__name__ in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.unregister_pickle_by_value(local)
            sys.modules.pop(local.__name__, None)
        sys.modules.update(stale)
        sys.path[:] = saved


def accepted(function: Callable[..., Any], offered: dict[str, Any]) -> dict[str, Any]:
    """Those of the offered keywords that the function takes."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return offered
    names = {parameter.name for parameter in parameters}
    return {name: value for name, value in offered.items() if name in names}


def user_frame(error: BaseException, root: Path) -> str | None:
    """``file:line`` of the deepest frame of a traceback that lies in the project."""
    root = root.resolve()
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        path = Path(frame.filename)
        if path.is_relative_to(root) and "site-packages" not in path.parts:
            return f"{path.relative_to(root)}:{frame.lineno}"
    return None


def git_state(root: Path) -> GitState | None:
    """The state of the repository that holds the project; ``None`` outside of one."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    return GitState(commit.strip(), bool(_git(root, "status", "--porcelain", "--", ".")))


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603  # fixed words and our own path
            ["git", "-C", str(root), *arguments],  # noqa: S607  # whichever git the user has
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _locate(root: Path, spec: TrainingSpec) -> Path:
    path = (root / spec.file).resolve()
    if not path.is_relative_to(root):
        raise TrainingSourceError(spec.name, spec.file, "it lies outside the project")
    if not path.is_file():
        raise TrainingSourceError(spec.name, str(path), "there is no such file")
    return path


def _load(path: Path, root: Path, spec: TrainingSpec) -> ModuleType:
    found = importlib.util.spec_from_file_location(_MODULE, path)
    assert found is not None  # noqa: S101  # a .py file always has a loader
    assert found.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(found)
    sys.modules[_MODULE] = module
    importlib.invalidate_caches()
    try:
        # Compiled here: a cached .pyc is keyed by whole seconds and may be of an older text.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102
    except Exception as error:
        where = user_frame(error, root) or spec.file
        raise TrainingSourceError(spec.name, where, f"{type(error).__name__}: {error}") from error
    return module


def _project_modules(root: Path) -> list[ModuleType]:
    """Modules that were imported from the project's files, the running script aside."""
    found = []
    prefix = f"{root}{os.sep}"
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name == "__main__" or not isinstance(file, str) or not file.startswith(prefix):
            continue
        if getattr(module, "__name__", None) == name and _is_local(Path(file), root):
            found.append(module)
    return found


def _is_local(path: Path, root: Path) -> bool:
    try:
        inside = path.relative_to(root).parts
    except ValueError:
        return False
    return "site-packages" not in inside and not inside[0].startswith(".")


def _imports(tree: ast.Module, path: Path, places: list[Path], root: Path) -> Iterator[Path]:
    """Files of the project that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names, bases = [alias.name for alias in node.names], places
        elif isinstance(node, ast.ImportFrom):
            base = path.parents[node.level - 1] if node.level else None
            stem = [node.module] if node.module else []
            names = [".".join([*stem, alias.name]) for alias in node.names] + stem
            bases = places if base is None else [base]
        else:
            continue
        for name in names:
            parts = name.split(".")
            for place in bases:
                # A package's __init__ runs before its modules do.
                for depth in range(1, len(parts) + 1):
                    target = place.joinpath(*parts[:depth])
                    for file in (target.with_suffix(".py"), target / "__init__.py"):
                        if file.is_file() and _is_local(file, root):
                            yield file
