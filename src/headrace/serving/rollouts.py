"""Moves rollouts on: each round judges what a new deployment has shown, and acts on it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.clock import iso, now
from headrace.endpoints import rollout
from headrace.endpoints.observations import quantiles
from headrace.endpoints.rules import Judgement, distance_cap, judge
from headrace.serving.mirror import Target

if TYPE_CHECKING:
    from headrace.catalog import Store
    from headrace.endpoints.records import Deployment, EndpointRecord, RolloutState
    from headrace.endpoints.spec import RollbackRules
    from headrace.serving.live import LiveDeployment


class Rollouts:
    """The rollouts of one plane. Their evidence is of this plane alone, from its start.

    After a restart the evidence of a rollout with rules begins again at the step where it is,
    and so does the time that the step takes: this plane has seen nothing of it.
    """

    def __init__(self) -> None:
        self._since: dict[str, datetime] = {}
        self._rules: dict[str, RollbackRules] = {}
        self._judged: dict[str, Judgement] = {}
        self._noted: dict[str, tuple[int, str]] = {}

    def observe(self, record: EndpointRecord, loaded: Mapping[str, LiveDeployment]) -> None:
        """Begin to collect evidence of deployments that are new here or have other rules now."""
        rules = record.spec.rollout.rollback
        for deployment in record.deployments:
            live = loaded.get(deployment.id)
            if live is not None and self._rules.get(deployment.id) != rules:
                live.observations.reset(distance_cap(rules))
                self._rules[deployment.id] = rules
                self._since[deployment.id] = now()
                self._judged.pop(deployment.id, None)

    def forget(self, active: set[str]) -> None:
        """Keep nothing of deployments that are gone."""
        for known in (self._since, self._rules, self._judged, self._noted):
            for identifier in known.keys() - active:
                del known[identifier]

    def target(self, record: EndpointRecord, loaded: Mapping[str, LiveDeployment]) -> Target | None:
        """Who gets copies of the endpoint's requests, while its rollout mirrors."""
        share = record.spec.rollout.mirror
        found = _under_way(record)
        live = loaded.get(found[0].id) if found else None
        return Target(live, share) if share is not None and live is not None else None

    def move(
        self, store: Store, record: EndpointRecord, loaded: Mapping[str, LiveDeployment]
    ) -> None:
        """Go forward, wait, or go back with the rollout that is under way, if there is one."""
        found = _under_way(record)
        live = loaded.get(found[0].id) if found else None
        if found is None or live is None:
            return
        deployment, progress = found
        judgement = judge(record.spec.rollout.rollback, live.observations.evidence())
        self._judged[deployment.id] = judgement
        if judgement.verdict == "violated":
            rollout.go_back(store, record.name, deployment.id, judgement)
        elif progress.state == "running" and self._is_due(progress, judgement):
            if judgement.verdict == "good":
                rollout.advance(store, record.name, deployment.id, judgement)
            elif self._noted.get(deployment.id) != (progress.step, judgement.kind):
                rollout.note_wait(store, record.name, deployment.id, judgement)
                self._noted[deployment.id] = progress.step, judgement.kind

    def snapshot(
        self, record: EndpointRecord, loaded: Mapping[str, LiveDeployment]
    ) -> dict[str, Any]:
        """What each loaded deployment has shown, as plain values."""
        shown = {}
        for deployment in record.deployments:
            live = loaded.get(deployment.id)
            if live is None:
                continue
            evidence = live.observations.evidence()
            judgement = self._judged.get(deployment.id)
            shown[deployment.id] = {
                "scorer": live.scorer.kind,
                "since": iso(self._since[deployment.id]) if deployment.id in self._since else None,
                "requests": evidence.requests,
                "failed": evidence.failed,
                "compared": evidence.compared,
                "distance": evidence.mean_distance,
                "latency_ms": quantiles(evidence),
                "verdict": judgement.verdict if judgement else None,
                "reason": judgement.reason if judgement else None,
            }
        return shown

    def _is_due(self, progress: RolloutState, judgement: Judgement) -> bool:
        moment = now()
        if progress.next_at is None or progress.next_at > moment:
            return False
        since = self._since.get(progress.deployment, moment)
        dwelt = since + timedelta(seconds=progress.every_seconds) <= moment
        return dwelt or not judgement.checks


def _under_way(record: EndpointRecord) -> tuple[Deployment, RolloutState] | None:
    """The ready deployment that takes over step by step."""
    target = record.target
    progress = record.rollouts.get(target.id) if target else None
    if target is None or progress is None or target.state != "ready":
        return None
    return (target, progress) if progress.state in ("running", "paused") else None
