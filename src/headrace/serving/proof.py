"""No model answers under a protected alias that did not earn it: asked before any is loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from headrace.evidence.guard import check, protected_alias
from headrace.payloads.errors import ModelNotServableError

if TYPE_CHECKING:
    from headrace.catalog import Store
    from headrace.endpoints.records import Deployment
    from headrace.serving.live import Live
    from headrace.settings import Paths

log = logging.getLogger(__name__)


class Proof:
    """Lets the files of a deployment pass, or says why not; called in loaders' threads.

    Reading all bytes of a large model takes seconds, once a load; a request pays nothing.

    Args:
        paths: the project.
        live: tells by which reference an endpoint names its model.
        store: gives the database, or ``None`` while it is away.
    """

    def __init__(self, paths: Paths, live: Live, store: Callable[[], Store | None]) -> None:
        self._paths = paths
        self._live = live
        self._store = store

    def __call__(self, deployment: Deployment, path: Path) -> None:
        """Let it pass.

        Raises:
            EvidenceError: the version did not earn its alias, or has other files.
            ModelNotServableError: its endpoint was withdrawn, so nobody says what it must earn.
        """
        endpoint = self._live.endpoints.get(deployment.endpoint)
        if endpoint is None:
            raise ModelNotServableError(deployment.model, "its endpoint was withdrawn")
        try:
            self._check(endpoint.record.model, deployment, path, self._store())
        except SQLAlchemyError as error:
            log.info("what the database last said of %s counts: %s", deployment.model, error)
            self._check(endpoint.record.model, deployment, path, None)

    def _check(
        self, reference: str, deployment: Deployment, path: Path, store: Store | None
    ) -> None:
        alias = protected_alias(self._paths, store, reference)
        if alias is not None:
            name, version = deployment.model_name, deployment.model_version
            check(self._paths, store, name, version, alias, path)
