"""Which of MLflow's routes exist here. What is not listed is refused, whatever it is.

MLflow's holes have come from routes that those who guarded it did not know, and each release
brings new ones. Not listed, among others: its gateway, jobs, assistant, registries of servers
and skills, webhooks, prompt optimisation, users and roles, and addresses that are signed
elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["page", "read", "write", "artifact"]

_V2: Final = """
GET artifacts/list
POST experiments/create
POST experiments/delete
POST experiments/delete-experiment-tag
GET experiments/get
GET experiments/get-by-name
POST experiments/restore
GET|POST experiments/search
POST experiments/search-datasets
POST experiments/set-experiment-tag
POST experiments/update
GET get-trace-artifact
POST logged-models
GET|PATCH|DELETE logged-models/<id>
GET logged-models/<id>/artifacts/directories
GET logged-models/<id>/artifacts/files
POST logged-models/<id>/params
PATCH logged-models/<id>/tags
DELETE logged-models/<id>/tags/<id>
POST logged-models/search
GET metrics/get-history
GET metrics/get-history-bulk
GET metrics/get-history-bulk-interval
POST model-versions/create
DELETE model-versions/delete
DELETE model-versions/delete-tag
GET model-versions/get
GET model-versions/get-download-uri
GET model-versions/search
POST model-versions/set-tag
POST model-versions/transition-stage
PATCH model-versions/update
GET|POST|DELETE registered-models/alias
POST registered-models/create
DELETE registered-models/delete
DELETE registered-models/delete-tag
GET registered-models/get
GET|POST registered-models/get-latest-versions
POST registered-models/rename
GET registered-models/search
POST registered-models/set-tag
PATCH registered-models/update
POST runs/create
POST runs/delete
POST runs/delete-tag
GET runs/get
POST runs/log-batch
POST runs/log-inputs
POST runs/log-metric
POST runs/log-model
POST runs/log-parameter
POST runs/outputs
POST runs/restore
POST runs/search
POST runs/set-tag
POST runs/update
GET|POST traces
PATCH traces/<id>
GET traces/<id>/info
PATCH|DELETE traces/<id>/tags
POST traces/delete-traces
POST traces/link-prompts
POST traces/link-to-run
"""
_V3: Final = """
GET get-trace-artifact
GET|DELETE datasets/<id>
POST datasets/<id>/add-experiments
GET datasets/<id>/experiment-ids
GET|POST|DELETE datasets/<id>/records
POST datasets/<id>/remove-experiments
PATCH datasets/<id>/tags
DELETE datasets/<id>/tags/<id>
POST datasets/create
GET|POST datasets/search
GET server-info
POST traces
GET traces/<id>
POST traces/<id>/assessments
GET|PATCH|DELETE traces/<id>/assessments/<id>
PATCH|DELETE traces/<id>/tags
GET traces/batchGet
POST traces/batchGetInfos
POST traces/calculate-filter-correlation
POST traces/delete-traces
GET traces/get
POST traces/metrics
POST traces/search
GET ui-telemetry
"""
_ARTIFACTS: Final = """
GET artifacts
GET|PUT|DELETE artifacts/<path>
"""
_PAGES: Final = """
GET /
GET /health
GET /version
GET /static-files/<path>
GET /get-artifact
GET /model-versions/get-artifact
GET|POST /graphql
POST /v1/traces
"""


@dataclass(frozen=True)
class Route:
    """One route of the list.

    Attributes:
        methods: those that are answered.
        path: its template; ``<id>`` is one segment, ``<path>`` the rest.
        kind: ``page`` a browser opens; ``read`` and ``write`` are small; ``artifact`` streams.
    """

    methods: frozenset[str]
    path: str
    kind: Kind

    @property
    def pattern(self) -> re.Pattern[str]:
        """What its paths match."""
        parts = (re.escape(part) for part in re.split(r"(?:<id>|<path>)", self.path))
        holes = [r"[^/]+" if hole == "<id>" else ".+" for hole in re.findall(r"<\w+>", self.path)]
        found = next(parts)
        for hole, part in zip(holes, parts, strict=True):
            found += hole + part
        return re.compile(found)


def route_of(method: str, path: str) -> Route | None:
    """The route of a request, or ``None`` if it is not on the list."""
    method = "GET" if method == "HEAD" else method
    if any(part in (".", "..", "") for part in path.split("/")[1:-1]):
        return None
    for pattern, route in _COMPILED:
        if method in route.methods and pattern.fullmatch(path):
            return route
    return None


def _listed(text: str, prefix: str) -> Iterator[Route]:
    for line in text.strip().splitlines():
        methods, path = line.split(" ")
        yield Route(frozenset(methods.split("|")), prefix + path, _kind(methods, prefix + path))


def _kind(methods: str, path: str) -> Kind:
    if "/artifacts/<path>" in path or path.endswith(("get-artifact", "artifacts/files")):
        return "artifact"
    if path.startswith(("/static-files", "/health", "/version")) or path == "/":
        return "page"
    return "read" if methods == "GET" or path.endswith(("search", "/graphql")) else "write"


ROUTES: Final = (
    *_listed(_PAGES, ""),
    *(
        route
        for api in ("/api", "/ajax-api")
        for text, prefix in (
            (_V2, f"{api}/2.0/mlflow/"),
            (_V3, f"{api}/3.0/mlflow/"),
            (_ARTIFACTS, f"{api}/2.0/mlflow-artifacts/"),
        )
        for route in _listed(text, prefix)
    ),
)
_COMPILED: Final = tuple((route.pattern, route) for route in ROUTES)
