from __future__ import annotations

from tests.modelling import make_models as make_models
from tests.modelling import models as models
from tests.parity.registered import copied as copied
from tests.parity.registered import forest as forest
from tests.parity.registered import untouched as untouched
