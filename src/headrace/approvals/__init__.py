"""Who may say yes: signed approvals, bound to one version and one piece of evidence."""

from __future__ import annotations
