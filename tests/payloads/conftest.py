from __future__ import annotations

from tests.planes import scoring_server as scoring_server
