from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from headrace.settings import PathNotSupportedError, ProjectNotFoundError
from headrace.workspace import Workspace, open_workspace

pytestmark = pytest.mark.filterwarnings(
    # MLflow 3.17 maps its own tables with an option that SQLAlchemy 2.1 deprecates.
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"
)

MakeProject = Callable[[str], Path]


@pytest.fixture
def make_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeProject]:
    """A project directory; the process's MLflow settings come back afterwards."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "_MLFLOW_SERVER_ARTIFACT_ROOT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    opened: list[Path] = []

    def make(name: str = "project") -> Path:
        root = tmp_path / name
        root.mkdir()
        (root / "headrace.yaml").write_text(f"name: {name}\n")
        opened.append(root)
        return root

    yield make
    for root in opened:
        open_workspace(root).close()


def test_a_workspace_is_opened_once(make_project: MakeProject) -> None:
    root = make_project("project")
    workspace = open_workspace(root)
    (root / "deep" / "down").mkdir(parents=True)
    assert open_workspace(root / "deep" / "down") is workspace
    assert (root / ".headrace" / "headrace.db").exists()
    assert (root / ".headrace").stat().st_mode & 0o077 == 0
    workspace.close()
    assert open_workspace(root) is not workspace


def test_projects_do_not_mix(make_project: MakeProject) -> None:
    one, two = open_workspace(make_project("one")), open_workspace(make_project("two"))
    one.catalog.create_table("gold.features")
    assert two.catalog.list() == []


def test_outside_of_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADRACE_PROJECT", raising=False)
    with pytest.raises(ProjectNotFoundError) as caught:
        open_workspace(tmp_path)
    assert caught.value.looked_in[0] == tmp_path
    assert "headrace init" in str(caught.value)


def test_a_path_that_engines_spell_differently(make_project: MakeProject) -> None:
    root = make_project("project")
    odd = root / "my project"
    odd.mkdir()
    (odd / "headrace.yaml").write_text("name: odd\n")
    with pytest.raises(PathNotSupportedError, match="a space"):
        open_workspace(odd)
    assert not (odd / "warehouse").exists()


def test_a_forked_child_opens_its_own(make_project: MakeProject) -> None:
    root = make_project("project")
    workspace = open_workspace(root)
    child = os.fork()
    if child == 0:
        mine = open_workspace(root)
        mine.catalog.create_table("gold.features")
        os._exit(0 if mine is not workspace else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert workspace.catalog.find("gold.features") is not None


def test_artifacts_of_a_plain_notebook_land_in_the_project(make_project: MakeProject) -> None:
    root = make_project("project")
    (root / "notebook.py").write_text(
        textwrap.dedent(
            """
            from headrace.workspace import open_workspace
            open_workspace().point_mlflow_here()
            import mlflow
            mlflow.set_experiment("plain")
            with mlflow.start_run():
                mlflow.log_text("hello", "note.txt")
            """
        )
    )
    # A script, not -c: PySpark takes that for its own doctests, and ends the process.
    done = subprocess.run(
        [sys.executable, "notebook.py"], cwd=root, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert [path.read_text() for path in (root / ".headrace/artifacts").rglob("note.txt")] == [
        "hello"
    ]
    assert not (root / "mlruns").exists()
    assert not (root / "mlflow.db").exists()


def test_a_client_keeps_artifacts_in_its_project_whatever_the_process_uses(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere)
    root = make_project("project")
    client = open_workspace(root).mlflow()
    experiment = client.get_experiment(client.create_experiment("one"))
    assert experiment.artifact_location.startswith((root / ".headrace/artifacts").as_uri())
    assert os.environ["MLFLOW_TRACKING_URI"] == elsewhere
    assert "_MLFLOW_SERVER_ARTIFACT_ROOT" not in os.environ
    assert not (tmp_path / "elsewhere.db").exists()


def test_mlflow_follows_the_project_opened_last(make_project: MakeProject) -> None:
    for name in ("one", "two"):
        workspace = open_workspace(make_project(name))
        workspace.point_mlflow_here()
        assert os.environ["MLFLOW_TRACKING_URI"] == workspace.tracking_uri
        assert os.environ["MLFLOW_REGISTRY_URI"] == workspace.tracking_uri


def test_mlflow_and_the_catalog_share_one_database(make_project: MakeProject) -> None:
    workspace = open_workspace(make_project("project"))
    client = workspace.mlflow()
    client.create_registered_model("device_failure")
    with workspace.store.begin() as connection:
        names = set(inspect(connection).get_table_names())
        connection.execute(text("UPDATE registered_models SET description = 'ours'"))
        # A writer of ours does not keep MLflow's readers waiting.
        assert client.get_registered_model("device_failure").description is None
    assert {"headrace_entries", "registered_models", "alembic_version"} <= names
    assert client.get_registered_model("device_failure").description == "ours"


@pytest.mark.slow
def test_processes_write_runs_and_lineage_together(make_project: MakeProject) -> None:
    """Both kinds of tables are made and written at once by processes that start together."""
    root = make_project("project")
    code = """
        import sys
        from headrace import clock
        from headrace.catalog import Operation
        from headrace.ids import new_id
        from headrace.workspace import open_workspace
        workspace = open_workspace()
        client = workspace.mlflow()
        for number in range(8):
            run = client.create_run("0")
            client.log_metric(run.info.run_id, "number", number)
            now = clock.now()
            workspace.lineage.record(
                Operation(new_id("op"), "train", None, None, run.info.run_id, now, now)
            )
        """
    processes = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=root, stderr=-1)
        for _ in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    workspace = open_workspace(root)
    runs = workspace.mlflow().search_runs(["0"], max_results=100)
    recorded = {operation.run_id for operation in workspace.lineage.operations()}
    assert len(runs) == 16
    assert recorded == {run.info.run_id for run in runs}


@pytest.mark.slow
def test_a_process_killed_while_mlflows_tables_are_made(make_project: MakeProject) -> None:
    root = make_project("project")
    code = "from headrace.workspace import open_workspace as o; o().mlflow()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={**os.environ, "HEADRACE_CRASH_AT": "mlflow-tables"},
        timeout=300,
        check=False,
    )
    assert done.returncode == 137
    workspace = open_workspace(root)
    with workspace.store.reading() as connection:
        assert "experiments" not in inspect(connection).get_table_names()
    workspace.mlflow().create_experiment("after")


def test_workspace_says_what_it_holds(make_project: MakeProject) -> None:
    workspace = open_workspace(make_project("project"))
    assert isinstance(workspace, Workspace)
    assert workspace.catalog.warehouse == workspace.paths.warehouse
    assert workspace.tracking_uri == workspace.paths.database_url
