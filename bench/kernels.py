"""Microseconds a row: a model's own predict, its kernel, and other compilers.

Usage::

    python -m bench.kernels [--rows 100000]

treelite, tl2cgen and lleaves are measured where they are installed, each on one thread.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

Predict = Callable[[Any], Any]


def data(rows: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 16))
    y = (X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(size=rows) > 0).astype(int)
    return X, y


def models(X: Any, y: Any) -> dict[str, Any]:
    import lightgbm
    import xgboost
    from sklearn import ensemble
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    made = {
        "random forest, 100 trees": ensemble.RandomForestClassifier(100, max_depth=12),
        "extra trees, 100 trees": ensemble.ExtraTreesClassifier(100, max_depth=12),
        "gradient boosting, 100": ensemble.GradientBoostingClassifier(n_estimators=100),
        "hist gradient boosting, 100": ensemble.HistGradientBoostingClassifier(
            max_iter=100, early_stopping=False
        ),
        "LightGBM, 200 trees": lightgbm.LGBMClassifier(n_estimators=200, verbose=-1, n_jobs=1),
        "XGBoost, 200 trees": xgboost.XGBClassifier(n_estimators=200, n_jobs=1),
        "logistic pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
    }
    for model in made.values():
        model.fit(X, y)
    return made


def kernel_of(model: Any, narrow: bool) -> Predict:
    """The graph alone, in float64 or float32."""
    from headrace.kernels import convert, original, runtime
    from headrace.kernels import narrow as short

    names = [f"f{number}" for number in range(16)]
    inputs = tuple(original.Input(name, "double") for name in names)
    made = convert.compiled(original.Original(None, model, inputs, "binary", [0, 1], 0.5))
    graph = short.in_float32(made.graph) if narrow else made.graph
    session = runtime.session_of(graph, threads=1)
    kind = np.float32 if narrow else np.float64

    def predict(rows: Any) -> Any:
        return session.run(["scores"], {"rows": rows.astype(kind, copy=False)})[0]

    return predict


def peers(model: Any, scratch: str) -> dict[str, Predict]:
    found: dict[str, Predict] = {}
    kind = type(model).__module__.split(".")[0]
    if kind == "lightgbm" and importlib.util.find_spec("lleaves"):
        import lleaves

        path = str(Path(scratch) / "model.txt")
        model.booster_.save_model(path)
        compiled = lleaves.Model(model_file=path)
        compiled.compile()
        found["lleaves"] = lambda rows: compiled.predict(rows, n_jobs=1)
    if importlib.util.find_spec("treelite") and kind != "sklearn.pipeline":
        import treelite
        from treelite import gtil

        if kind == "lightgbm":
            held = treelite.frontend.from_lightgbm(model.booster_)
        elif kind == "xgboost":
            held = treelite.frontend.from_xgboost(model.get_booster())
        elif hasattr(model, "estimators_") or hasattr(model, "_predictors"):
            held = treelite.sklearn.import_model(model)
        else:
            return found
        found["treelite gtil"] = lambda rows: gtil.predict(held, rows, nthread=1)
        if importlib.util.find_spec("tl2cgen") and kind != "sklearn":  # forests take minutes
            import tl2cgen

            path = str(Path(scratch) / "model.so")
            tl2cgen.export_lib(held, toolchain="gcc", libpath=path, params={"parallel_comp": 8})
            native = tl2cgen.Predictor(path, nthread=1)
            found["treelite C"] = lambda rows: native.predict(tl2cgen.DMatrix(rows))
    return found


def best(predict: Predict, rows: Any, times: int) -> float:
    """The least processor time of a call, which a busy machine hardly changes."""
    found = []
    for _ in range(times):
        start = time.process_time()
        predict(rows)
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    warnings.simplefilter("ignore")
    X, y = data(20_000)
    many, _ = data(rows)
    one = many[:1].copy()
    print(f"{'model':28} {'system':16} {'one row, us':>12} {'us a row of ' + str(rows):>22}")
    for name, model in models(X, y).items():
        with tempfile.TemporaryDirectory() as scratch:
            systems: dict[str, Predict] = {"original": model.predict_proba}
            systems["kernel float64"] = kernel_of(model, narrow=False)
            systems["kernel float32"] = kernel_of(model, narrow=True)
            try:
                systems |= peers(model, scratch)
            except Exception as error:  # noqa: BLE001  # a peer that fails is a line of the table
                print(f"{name:28} peers: {type(error).__name__}: {str(error)[:90]}")
            for system, predict in systems.items():
                single = best(predict, one, times=200)
                batch = best(predict, many, times=3) / rows
                print(f"{name:28} {system:16} {single * 1e6:12.1f} {batch * 1e6:22.2f}", flush=True)


if __name__ == "__main__":
    main()
