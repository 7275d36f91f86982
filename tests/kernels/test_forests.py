from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier

from headrace.kernels import compile_model, load_kernel

if TYPE_CHECKING:
    from tests.kernels.conftest import Save


def test_a_forest_is_proven_and_scores_as_the_original(save_model: Save) -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(400, 4)), columns=list("abcd"))
    model = RandomForestClassifier(20, random_state=0).fit(X, (X.a + X.b > 0).astype(int))
    home = save_model(model, X)
    report = compile_model(home, X)
    assert report.summary == "onnx float64, within 1e-9"
    kernel = load_kernel(home)
    assert kernel is not None
    answer = kernel.predict({name: X[name].to_numpy() for name in X}, len(X))
    assert np.array_equal(answer["score"], model.predict_proba(X)[:, 1])
    assert np.array_equal(answer["label"], answer["score"] >= 0.5)
