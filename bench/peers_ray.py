"""Ray Serve, as its performance guide advises: a replica a core, dynamic batching."""

import os
import signal

import numpy as np
import ray
from peers_load import load
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=2, max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.5})
class Scorer:
    def __init__(self, path: str) -> None:
        self.score = load(path)

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=0.001)
    async def scored(self, inputs: list[np.ndarray]) -> list[list[float]]:
        lengths = [len(each) for each in inputs]
        scores = self.score(np.concatenate(inputs))
        return [each.tolist() for each in np.split(scores, np.cumsum(lengths)[:-1])]

    async def __call__(self, request: Request) -> dict:
        rows = np.array((await request.json())["rows"], np.float64)
        return {"scores": await self.scored(rows)}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
    serve.run(Scorer.bind(os.environ["MODEL"]))
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()
