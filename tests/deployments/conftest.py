from __future__ import annotations

from tests.planes import project as project
from tests.planes import template as template
