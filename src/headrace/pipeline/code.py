"""Digests of the code behind a dataset: equal where only comments or layout differ.

The digest of a Python query function covers its file, without the query functions of other
datasets (nothing can call those: their decorators return ``None``), and every module of the
project that the file imports, directly or not.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.pipeline.elements import Flow, Output


class CodeDigests:
    """Digests of a pipeline's flows; each file is parsed once.

    Args:
        root: the project's directory; modules outside it do not count.
        outputs: every declared dataset.
        flows: every flow.
    """

    def __init__(self, root: Path, outputs: Iterable[Output], flows: Iterable[Flow]) -> None:
        self._root = root
        self._trees: dict[Path, ast.Module] = {}
        self._helpers: dict[Path, list[str]] = {}
        self._others: dict[str, set[int]] = {}
        for flow in flows:
            if flow.defined is not None:
                self._others.setdefault(flow.location.file, set()).add(flow.defined)
        for output in outputs:
            if output.location.line is not None:
                self._others.setdefault(output.location.file, set()).add(output.location.line)

    def flow(self, flow: Flow) -> str:
        """The digest of one flow, 64 hexadecimal digits."""
        if flow.sql is not None:
            return _sha256([flow.sql])
        path = self._root / flow.location.file
        if not path.is_file():
            return _sha256([flow.name])
        tree = self._tree(path)
        foreign = self._others.get(flow.location.file, set()) - {flow.defined}
        kept = [node for node in tree.body if _first_line(node) not in foreign]
        module = ast.Module(body=kept, type_ignores=[])
        own = [_dump(module)]
        if flow.defined is not None and not any(_first_line(n) == flow.defined for n in kept):
            own.append(flow.name)  # declared inside another statement, such as a loop
        return _sha256(own + self._imported(path))

    def dataset(self, flows: Sequence[Flow]) -> str:
        """The digest of all flows into one dataset."""
        return _sha256(sorted(f"{flow.name} {self.flow(flow)}" for flow in flows))

    def _imported(self, path: Path) -> list[str]:
        """Dumps of the project's modules that a file imports, directly or not."""
        if path not in self._helpers:
            seen: dict[Path, str] = {}
            queue = list(self._imports(path))
            while queue:
                module = queue.pop()
                if module not in seen and module != path:
                    seen[module] = _dump(self._tree(module))
                    queue.extend(self._imports(module))
            self._helpers[path] = [
                f"{module.relative_to(self._root)} {seen[module]}" for module in sorted(seen)
            ]
        return self._helpers[path]

    def _imports(self, path: Path) -> set[Path]:
        found: set[Path] = set()
        for node in ast.walk(self._tree(path)):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = self._from(node, path)
            else:
                continue
            for name in names:
                found.update(self._files(name))
        return found

    def _from(self, node: ast.ImportFrom, path: Path) -> list[str]:
        base = node.module or ""
        if node.level and path.is_relative_to(self._root):
            parents = path.relative_to(self._root).parent.parts
            package = parents[: len(parents) - (node.level - 1)]
            base = ".".join([*package, *([base] if base else [])])
        return [base, *(f"{base}.{alias.name}" for alias in node.names)]

    def _files(self, name: str) -> Iterable[Path]:
        """Files of the project that are loaded when a module is imported."""
        parts = [part for part in name.split(".") if part]
        for depth in range(1, len(parts) + 1):
            stem = self._root.joinpath(*parts[:depth])
            for file in (stem.with_suffix(".py"), stem / "__init__.py"):
                if file.is_file():
                    yield file

    def _tree(self, path: Path) -> ast.Module:
        if path not in self._trees:
            self._trees[path] = ast.parse(path.read_bytes(), str(path))
        return self._trees[path]


def _first_line(node: ast.stmt) -> int:
    if isinstance(node, ast.FunctionDef) and node.decorator_list:
        return node.decorator_list[0].lineno
    return node.lineno


def _dump(tree: ast.Module) -> str:
    """The tree as text, without documentation strings."""
    stripped = _WithoutDocstrings().visit(ast.parse(ast.unparse(tree)))
    return ast.dump(stripped)


class _WithoutDocstrings(ast.NodeTransformer):
    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            body = node.body
            if (
                body
                and isinstance(body[0], ast.Expr)
                and isinstance(body[0].value, ast.Constant)
                and isinstance(body[0].value.value, str)
            ):
                node.body = body[1:] or [ast.Pass()]
        return super().generic_visit(node)


def _sha256(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()
