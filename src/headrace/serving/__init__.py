"""The scoring plane: the process that answers an endpoint's requests.

::

    with running_plane(workspace.paths) as url:        # or: headrace up
        requests.post(f"{url}/endpoints/device-failure/invocations", ...)
"""

from __future__ import annotations

from headrace.serving.supervisor import running_plane as running_plane
from headrace.serving.supervisor import supervise as supervise
