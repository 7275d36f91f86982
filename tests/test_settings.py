from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from headrace import settings
from headrace.settings import (
    InvalidSettingError,
    PathNotSupportedError,
    Paths,
    ProjectNotFoundError,
    Secret,
    check_path,
    find_project,
    port_setting,
    read_token,
    setting,
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in settings.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "project"
    root.mkdir()
    (root / "headrace.yaml").write_text("name: x\n")
    return root


def test_the_environment_goes_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADRACE_PORT", raising=False)
    assert setting("HEADRACE_PORT") == "8351"
    monkeypatch.setenv("HEADRACE_PORT", "9000")
    assert setting("HEADRACE_PORT") == "9000"
    with pytest.raises(KeyError):
        setting("HEADRACE_PROT")


def test_a_port_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_PORT", "9000")
    assert port_setting() == 9000
    for text in ("web", "-1", "8351.0", "123456", ""):
        monkeypatch.setenv("HEADRACE_PORT", text)
        with pytest.raises(InvalidSettingError, match="HEADRACE_PORT cannot be") as caught:
            port_setting()
        assert caught.value.next == "export HEADRACE_PORT=8351"


def test_every_setting_is_documented() -> None:
    page = Path(__file__).parents[1] / "docs" / "settings.md"
    text = page.read_text()
    assert [name for name in settings.SETTINGS if f"`{name}`" not in text] == []


def test_a_project_is_found_from_below(project: Path) -> None:
    (project / "a" / "b").mkdir(parents=True)
    assert find_project(project / "a" / "b").root == project
    assert find_project(project).root == project


def test_a_project_is_found_from_the_working_directory(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    assert find_project().root == project


def test_a_project_named_in_the_environment(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADRACE_PROJECT", str(project))
    assert find_project().root == project


def test_no_project_lists_every_place(tmp_path: Path) -> None:
    with pytest.raises(ProjectNotFoundError) as caught:
        find_project(tmp_path)
    assert caught.value.looked_in == [tmp_path, *tmp_path.parents]


def test_the_database_is_inside_the_project_unless_set(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths(project)
    assert paths.database_url == f"sqlite:///{project}/.headrace/headrace.db"
    monkeypatch.setenv("HEADRACE_DATABASE", "postgresql://h/n")
    assert paths.database_url == "postgresql://h/n"


def test_state_is_private(project: Path) -> None:
    paths = Paths(project)
    paths.make()
    paths.make()
    for directory in (paths.state, paths.artifacts, paths.spool, paths.temporary):
        assert directory.stat().st_mode & 0o777 == 0o700
    assert paths.warehouse.is_dir()


def test_a_secret_does_not_print() -> None:
    secret = Secret("swordfish")
    assert "swordfish" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "swordfish"
    assert secret.matches("swordfish")
    assert not secret.matches("swordfisH")


def test_the_token_is_made_once_for_its_owner_alone(project: Path) -> None:
    paths = Paths(project)
    token = read_token(paths)
    assert paths.token_file.stat().st_mode & 0o777 == 0o600
    assert len(token.reveal()) >= 43
    assert read_token(paths).matches(token.reveal())
    assert [path.name for path in paths.state.glob("token*")] == ["token"]


def _token(root: Path, queue: multiprocessing.Queue[str]) -> None:
    queue.put(read_token(Paths(root)).reveal())


def test_processes_agree_on_the_token(project: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[str] = context.Queue()
    workers = [context.Process(target=_token, args=(project, queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    tokens = {queue.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join(timeout=60)
    assert len(tokens) == 1


@pytest.mark.parametrize("path", ["/srv/my-project_1.2", "/a+b=c@d~e,f"])
def test_paths_that_every_engine_spells_alike(path: str) -> None:
    assert check_path(Path(path)) == Path(path)


@pytest.mark.parametrize(
    ("path", "characters"),
    [("/my project", " "), ("/50%", "%"), ("/größe", "ßö"), ("/a#b?c", "#?"), ("/a\nb", "\n")],
)
def test_paths_that_engines_spell_differently(path: str, characters: str) -> None:
    with pytest.raises(PathNotSupportedError) as caught:
        check_path(Path(path))
    assert caught.value.characters == characters
