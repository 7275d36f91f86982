from __future__ import annotations

import importlib
import warnings
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def scoring_server() -> ModuleType:
    """MLflow's own scoring server, whose import warns of its type hints."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("mlflow.pyfunc.scoring_server")
