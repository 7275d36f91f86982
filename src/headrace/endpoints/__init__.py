"""Endpoints: blue/green deployments of model versions, and how traffic moves between them.

::

    deployment = deploy(workspace, spec, version)      # recorded; the scoring plane loads it
    shift(workspace, "device-failure", {"blue": 90, "green": 10}, by="ann")
    endpoint_status(workspace, "device-failure").served
"""

from __future__ import annotations

from headrace.endpoints.address import PlaneInfo as PlaneInfo
from headrace.endpoints.address import read_plane as read_plane
from headrace.endpoints.control import pause as pause
from headrace.endpoints.control import resume as resume
from headrace.endpoints.control import rollback as rollback
from headrace.endpoints.control import shift as shift
from headrace.endpoints.decision import Decision as Decision
from headrace.endpoints.decision import decisions as decisions
from headrace.endpoints.deploy import declare as declare
from headrace.endpoints.deploy import deploy as deploy
from headrace.endpoints.deploy import deployment_freshness as deployment_freshness
from headrace.endpoints.deploy import went_back as went_back
from headrace.endpoints.deploy import withdraw as withdraw
from headrace.endpoints.records import Deployment as Deployment
from headrace.endpoints.spec import EndpointSpec as EndpointSpec
from headrace.endpoints.spec import RollbackRules as RollbackRules
from headrace.endpoints.spec import Rollout as Rollout
from headrace.endpoints.status import DeploymentStatus as DeploymentStatus
from headrace.endpoints.status import EndpointStatus as EndpointStatus
from headrace.endpoints.status import Shift as Shift
from headrace.endpoints.status import endpoint_names as endpoint_names
from headrace.endpoints.status import endpoint_status as endpoint_status
from headrace.endpoints.status import traffic_history as traffic_history
