"""BentoML 1.4, as its guides advise for CPUs: a worker a core, adaptive batching."""

import os

import bentoml
import numpy as np
from peers_load import load


@bentoml.service(workers=2, traffic={"timeout": 30})
class Scorer:
    def __init__(self) -> None:
        self.predict = load(os.environ["MODEL"])

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def score(self, rows: np.ndarray) -> np.ndarray:
        return self.predict(np.asarray(rows, np.float64))
