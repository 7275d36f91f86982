"""The README's commands are typed as it shows them, in the demo that its first command makes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
#: Commands that this module runs in another way, and why.
ELSEWHERE = {
    "make demo": "the fixture runs what it calls: headrace demo",
    "make test": "this is a part of it",
    "cd demo": "the commands after it run there",
    "headrace init my-project": "its own test gives it a directory",
    "headrace up": "its own test stops it again",
    "headrace trace PREDICTION_ID": "its own test fills in the id",
    "mlflow ui --backend-store-uri sqlite:///.headrace/headrace.db": "its own test stops it again",
}


def commands() -> list[str]:
    """Every line of the README's code blocks that is a command, comments cut off."""
    blocks = re.findall(r"```\n(.*?)```", README, re.DOTALL)
    lines = [
        re.sub(r"\s{2,}#.*", "", line).strip() for block in blocks for line in block.split("\n")
    ]
    starts = ("make ", "cd ", "headrace ", "mlflow ", "python ")
    return [line for line in lines if line.startswith(starts)]


@dataclass
class Demo:
    directory: Path
    facts: dict[str, Any]

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.directory,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=300,
        )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    home = tmp_path_factory.mktemp("readme")
    made = Demo(home, {}).run(["headrace", "demo", "--json"])
    assert made.returncode == 0, made.stdout + made.stderr
    return Demo(home / "demo", json.loads(made.stdout))


def test_every_command_is_run_somewhere() -> None:
    assert set(ELSEWHERE) <= set(commands())
    assert len(commands()) > len(ELSEWHERE)


@pytest.mark.parametrize("command", sorted(set(commands()) - set(ELSEWHERE)))
def test_a_command_of_the_readme_works(demo: Demo, command: str) -> None:
    done = demo.run(shlex.split(command))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


def test_the_demo_served_every_request_while_traffic_moved(demo: Demo) -> None:
    traffic = demo.facts["traffic"]
    assert traffic["failed"] == 0, traffic["problem"]
    assert traffic["served"] >= 80
    assert set(traffic["versions"]) == {"1", "2"}
    assert traffic["shares"][-1] == {"blue": 0, "green": 100}
    greens = [shares["green"] for shares in traffic["shares"]]
    assert greens[-3:] == [10, 50, 100]


def test_the_demo_promoted_a_better_version(demo: Demo) -> None:
    (model,) = demo.facts["status"]["models"]
    assert model["champion"] == 2
    assert model["verdict"]["promoted"]
    assert model["verdict"]["difference"]["low"] > 0


def test_the_demo_ends_with_evidence_that_verifies_from_its_files(
    demo: Demo, tmp_path: Path
) -> None:
    assert demo.facts["evidence"]["verified"] is True
    (envelope,) = (demo.directory / "evidence").glob("*.json")
    key = demo.directory / "evidence" / "public-key.pem"
    elsewhere = Demo(tmp_path, {})
    done = elsewhere.run(["headrace", "verify", str(envelope), "--key", str(key)])
    assert done.returncode == 0, done.stdout + done.stderr
    envelope_of_another = tmp_path / "changed.json"
    envelope_of_another.write_text(envelope.read_text().replace("payload", "payloaD", 1))
    done = elsewhere.run(["headrace", "verify", str(envelope_of_another), "--key", str(key)])
    assert done.returncode == 1


def test_the_demo_traces_its_prediction_to_raw_files(demo: Demo) -> None:
    done = demo.run(["headrace", "trace", demo.facts["prediction"], "--json"])
    assert done.returncode == 0, done.stderr
    trace = json.loads(done.stdout)
    kinds = {node["kind"] for node in trace["nodes"]}
    assert {"prediction", "deployment", "model", "run", "code", "table", "files"} <= kinds
    assert "sha256" in done.stdout


def test_every_table_of_the_demo_opens_in_deltalake(demo: Demo) -> None:
    from deltalake import DeltaTable

    tables = demo.facts["status"]["tables"]
    assert len(tables) >= 9
    for table in tables:
        opened = DeltaTable(table["location"])
        assert opened.version() == table["version"]
        assert opened.to_pyarrow_dataset().count_rows() == table["rows"]


def test_mlflow_ui_shows_the_runs(demo: Demo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = next(line for line in commands() if line.startswith("mlflow ui"))
    ui = subprocess.Popen(
        [str(Path(sys.executable).parent / "mlflow"), *shlex.split(command)[1:],
         "--port", str(port), "--workers", "1"],
        cwd=demo.directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        experiments = ask(port, "experiments/search", {"max_results": 10})["experiments"]
        ids = [each["experiment_id"] for each in experiments]
        runs = ask(port, "runs/search", {"experiment_ids": ids})["runs"]
        finished = [run for run in runs if run["info"]["status"] == "FINISHED"]
        assert len(finished) == 2
        logged = {metric["key"] for metric in finished[0]["data"]["metrics"]}
        assert "holdout_average_precision" in logged
        assert finished[0]["inputs"]["dataset_inputs"]
    finally:
        os.killpg(ui.pid, signal.SIGTERM)
        ui.wait(30)


def ask(port: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """POST to MLflow's REST API, as soon as it is up."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/{path}",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return dict(json.load(answer))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def walk(section: str) -> list[tuple[str, str]]:
    """The commands of a section of the page on evidence, each with its comment."""
    page = (ROOT / "docs/evidence.md").read_text()
    blocks = re.findall(
        r"```\n(.*?)```", page.split(f"## {section}\n")[1].split("\n## ")[0], re.DOTALL
    )
    lines = [line for block in blocks for line in block.splitlines()]
    return [
        (command, told)
        for command, _, told in (
            re.split(r"(\s{2,}# )", f"{line}  # ", maxsplit=1) for line in lines
        )
    ]


def test_the_page_on_evidence_can_be_followed(demo: Demo) -> None:
    """Each comment is a part of what the command prints, or of why it fails."""
    at = Demo(demo.directory, {})
    commands = [*walk("One promotion, and three ways to break it"), *walk("Keys")]
    assert sum("cd " in command for command, _ in commands) == 2
    for command, told in commands:
        if command.startswith("cd "):
            at = Demo((at.directory / command.removeprefix("cd ")).resolve(), {})
            continue
        done = at.run(["bash", "-c", command])
        said = done.stdout + done.stderr
        if command.startswith("headrace key"):
            assert done.returncode == 0, said
            continue
        assert told.removesuffix("  # ").strip() in said, f"{command}: {said}"
        assert "Traceback" not in said


def test_up_serves_the_demo_until_it_is_stopped(demo: Demo) -> None:
    up = subprocess.Popen(
        [sys.executable, "-m", "headrace", "up", "--port", "0"],
        cwd=demo.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert up.stdout is not None
    try:
        line = up.stdout.readline()
        url = re.search(r"http://[\d.:]+", line)
        assert url, line + (up.stderr.read() if up.poll() is not None and up.stderr else "")
        token = (demo.directory / ".headrace/token").read_text().strip()
        request = urllib.request.Request(
            f"{url[0]}/endpoints/device-failure", headers={"authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert b"green" in answer.read()
    finally:
        up.send_signal(signal.SIGINT)
        out, err = up.communicate(timeout=60)
    assert up.returncode == 0, out + err
    assert "Traceback" not in err
