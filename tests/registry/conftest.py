from __future__ import annotations

from tests.modelling import make_models as make_models
from tests.modelling import models as models
