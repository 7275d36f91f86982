"""Who acts: the name that decisions, approvals and the audit log carry.

On a machine without sign-in a name is a claim. What must be more than that is signed with a key.
"""

from __future__ import annotations

import getpass

from headrace.settings import setting


def principal() -> str:
    """``HEADRACE_USER``, or the login name of the operating system's user.

    ``unknown`` where the system knows no name for it, as in some containers.
    """
    try:
        return setting("HEADRACE_USER") or getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"
