"""wrk, the closed-loop load generator: where it comes from, and what a run of it measured."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGES: Final = ("wrk", "libluajit-5.1-2", "libluajit-5.1-common")

_SCRIPT: Final = """
local requests, turn = {}, 0

function init(arguments)
  for number = 1, tonumber(arguments[2]) do
    local file = io.open(arguments[1] .. "/" .. number, "rb")
    requests[number] = wrk.format("POST", nil, nil, file:read("*a"))
    file:close()
  end
end

function request()
  turn = turn %% #requests + 1
  return requests[turn]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\\n{"seconds": %%.6f, "requests": %%d, "p50": %%.1f, "p99": %%.1f, "p999": %%.1f, ' ..
    '"errors": %%d, "statuses": %%d}\\n',
    summary.duration / 1e6, summary.requests, latency:percentile(50), latency:percentile(99),
    latency:percentile(99.9), errors.connect + errors.read + errors.write + errors.timeout,
    errors.status))
end

%s
"""


class WrkMissingError(Exception):
    """wrk is neither installed nor to be had."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}\ninstall it and type the command again: apt-get install wrk")


@dataclass(frozen=True)
class Closed:
    """One closed-loop run. Latencies in milliseconds.

    Attributes:
        per_second: answers of status 2xx a second.
        errors: requests without an answer, or with another status.
    """

    per_second: float
    p50: float
    p99: float
    p999: float
    errors: int


class Wrk:
    """wrk of the system, or of Debian's package below ``home/tools``; needs no root.

    Raises:
        WrkMissingError: there is none and the package cannot be fetched.
    """

    def __init__(self, home: Path) -> None:
        self.tools = home / "tools"
        self.env: dict[str, str] = dict(os.environ)
        found = shutil.which("wrk")
        if found is None:
            found = str(self.tools / "usr/bin/wrk")
            if not Path(found).exists():
                _fetch(self.tools)
            libraries = {str(path.parent) for path in self.tools.rglob("libluajit*.so*")}
            self.env["LD_LIBRARY_PATH"] = ":".join(sorted(libraries))
        self.program = found

    def run(
        self,
        url: str,
        bodies: list[bytes],
        headers: dict[str, str],
        connections: int,
        seconds: float,
    ) -> Closed:
        """Ask for some seconds, on so many connections, sending the bodies in turn."""
        folder = self.tools / "bodies"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, body in enumerate(bodies, 1):
            (folder / str(number)).write_bytes(body)
        lines = [f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}" for k, v in headers.items()]
        script = folder / "script.lua"
        script.write_text(_SCRIPT % "\n".join(lines))
        done = subprocess.run(
            [self.program, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s",
             "--timeout", "20s", "-s", script, url, "--", folder, str(len(bodies))],
            env=self.env, capture_output=True, text=True, timeout=seconds + 120, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"wrk failed: {done.stderr or done.stdout}")
        said = json.loads(done.stdout.strip().splitlines()[-1])
        good = said["requests"] - said["statuses"]
        return Closed(
            good / said["seconds"],
            said["p50"] / 1e3,
            said["p99"] / 1e3,
            said["p999"] / 1e3,
            said["errors"] + said["statuses"],
        )


def _fetch(tools: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise WrkMissingError("wrk is not installed, and there is no apt-get to fetch it with.")
    tools.mkdir(parents=True, exist_ok=True)
    fetched = subprocess.run(
        ["apt-get", "download", "-q", *PACKAGES],
        cwd=tools, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if fetched.returncode != 0:
        raise WrkMissingError(f"wrk cannot be fetched: {fetched.stderr.strip()}")
    for package in tools.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, tools], check=True, timeout=60)
