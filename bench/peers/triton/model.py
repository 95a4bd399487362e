"""Model of Triton's Python backend for the exported graph (ONNX): uint8 tiles and int64 cells, output patch scores."""

import json
import os
import sys

# The interpreter of the backend ignores PYTHONPATH.
sys.path.insert(0, os.environ["PEER_PACKAGES"])
import numpy as np
import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args: dict) -> None:
        parameters = json.loads(args["model_config"])["parameters"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters["threads"]["string_value"])
        options.inter_op_num_threads = 1
        path = parameters["onnx"]["string_value"]
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def execute(self, requests: list) -> list:
        """Scores the requests of one dynamic batch in one run, by chord distance."""
        inputs = [[self.input_of(request, name) for request in requests] for name in ("tiles", "cells")]
        tiles, cells = (np.concatenate(arrays) for arrays in inputs)
        feeds = {"tiles": tiles}
        if len(self.session.get_inputs()) > 1:
            feeds["cells"] = cells.reshape(-1)
        (similarities,) = self.session.run(["similarities"], feeds)
        scores = np.sqrt(2 - 2 * np.clip(similarities, -1, 1)).mean(axis=1).astype(np.float32).reshape(cells.shape)
        ends = np.cumsum([len(part) for part in inputs[0]])[:-1]
        return [triton.InferenceResponse([triton.Tensor("scores", part)]) for part in np.split(scores, ends)]

    @staticmethod
    def input_of(request, name: str) -> np.ndarray:
        return triton.get_input_tensor_by_name(request, name).as_numpy()
