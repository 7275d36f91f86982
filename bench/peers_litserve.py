"""LitServe, as its guides advise: a worker a core, batching, the fast queue."""

import os

import litserve
import numpy as np
from peers_load import load


class Scorer(litserve.LitAPI):
    def setup(self, device):  # noqa: ARG002
        self.score = load(os.environ["MODEL"])

    def decode_request(self, request):
        return np.array(request["rows"], np.float64)

    def batch(self, inputs):
        self.lengths = [len(each) for each in inputs]
        return np.concatenate(inputs)

    def predict(self, rows):
        return self.score(rows)

    def unbatch(self, output):
        return np.split(output, np.cumsum(self.lengths)[:-1])

    def encode_response(self, output):
        return {"scores": output.tolist()}


if __name__ == "__main__":
    api = Scorer(max_batch_size=16, batch_timeout=0.001)
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=2, fast_queue=True, timeout=30
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        num_api_servers=2,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
