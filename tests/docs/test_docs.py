"""The docs keep up with the code: settings, commands, and links are all there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from headrace.project.config import json_schema

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*/README.md")]
)


def test_the_reference_pages_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    reference = importlib.import_module("reference")
    for page, write in reference.PAGES.items():
        assert (ROOT / "docs" / page).read_text() == write(), "make reference"


def test_every_key_of_the_project_file_is_described() -> None:
    page = (ROOT / "docs/project.md").read_text()
    schema = json_schema()
    models = [schema, *schema["$defs"].values()]
    keys = {key: entry for model in models for key, entry in model["properties"].items()}
    assert len(keys) > 30
    for key, entry in keys.items():
        assert entry.get("description"), f"{key} has no description"
        assert f"| `{key}` | {entry['description']} |" in page, key


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = [page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md"]
    assert [page for page in pages if f"]({page})" not in index] == []
    assert "](docs/README.md)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_package_of_the_layers_is_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for package in sorted((ROOT / "src/headrace").iterdir()):
        if (package / "__init__.py").exists():
            assert package.name in text
