"""Endpoints: blue/green deployments of model versions behind an HTTP scoring plane.

::

    deployment = deploy(workspace, spec, version)      # recorded; the plane loads it
    with running_plane(workspace.paths) as url:        # or: headrace up
        requests.post(f"{url}/endpoints/device-failure/invocations", ...)
    endpoint_status(workspace, "device-failure").served
"""

from __future__ import annotations

from headrace.serving.address import PlaneInfo as PlaneInfo
from headrace.serving.address import read_plane as read_plane
from headrace.serving.deploy import deploy as deploy
from headrace.serving.deploy import deployment_freshness as deployment_freshness
from headrace.serving.deploy import shift as shift
from headrace.serving.deploy import withdraw as withdraw
from headrace.serving.plane import serve as serve
from headrace.serving.records import Deployment as Deployment
from headrace.serving.spec import EndpointSpec as EndpointSpec
from headrace.serving.spec import Rollout as Rollout
from headrace.serving.spec import request_table as request_table
from headrace.serving.status import DeploymentStatus as DeploymentStatus
from headrace.serving.status import EndpointStatus as EndpointStatus
from headrace.serving.status import endpoint_names as endpoint_names
from headrace.serving.status import endpoint_status as endpoint_status
from headrace.serving.status import find_spooled as find_spooled
from headrace.serving.status import traffic_history as traffic_history
from headrace.serving.supervisor import running_plane as running_plane
from headrace.serving.supervisor import supervise as supervise
