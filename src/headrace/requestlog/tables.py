"""Names of the tables that hold an endpoint's requests."""

from __future__ import annotations


def request_table(endpoint: str) -> str:
    """The table of an endpoint's request log.

    >>> request_table("device-failure")
    'ops.device_failure_requests'
    """
    return f"ops.{endpoint.replace('-', '_')}_requests"
