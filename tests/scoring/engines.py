"""An engine in another process, which has the libraries and not this package."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# It refuses to open what it must not see: hidden directories are those that another machine
# would not have.
SERVER = """
import sys

HIDDEN = tuple(sys.argv[1:])


class NoHeadrace:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "headrace":
            raise ImportError(f"{name} is not installed here")


def refuse(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(HIDDEN):
        raise PermissionError(f"{arguments[0]} is not on this machine")


sys.meta_path.insert(0, NoHeadrace())
if HIDDEN:
    sys.addaudithook(refuse)
from pysail.spark import SparkConnectServer

server = SparkConnectServer(ip="127.0.0.1", port=0)
server.start(background=True)
print(server.listening_address[1], flush=True)
sys.stdin.read()
"""

CLIENT = """
import sys
from headrace.scoring import PredictionSpec, score
from headrace.workspace import open_workspace

done = score(open_workspace(), PredictionSpec.model_validate_json(sys.argv[1]))
print("scored", done.scored, done.unchanged, done.mode)
"""


@contextmanager
def serve(directory: Path, hidden: Sequence[Path] = ()) -> Iterator[str]:
    """The ``sc://`` address of a server that works in ``directory`` until the context ends.

    Args:
        directory: where it works.
        hidden: directories whose files Python in the server cannot open.
    """
    script = directory / "server.py"
    script.write_text(SERVER)
    process = subprocess.Popen(
        [sys.executable, str(script), *map(str, hidden)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=directory,
        env=os.environ | {"RUST_LOG": "error"},
    )
    assert process.stdout is not None
    try:
        yield f"sc://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.communicate("", timeout=60)
