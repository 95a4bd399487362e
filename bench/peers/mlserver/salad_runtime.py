"""MLServer runtime for the exported graph of the model (ONNX): input uint8 tiles and int64 cells, output patch scores."""

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import get_model_uri


class SaladRuntime(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(self._settings.parameters.extra["threads"])
        options.inter_op_num_threads = 1
        uri = await get_model_uri(self._settings)
        self.session = onnxruntime.InferenceSession(uri, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """From tiles uint8 [n, H, W, 1] and cells int64 [n, P], computes scores float32 [n, P] by chord distance."""
        inputs = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        cells = inputs["cells"]
        feeds = {"tiles": inputs["tiles"].astype(np.uint8, copy=False)}
        if len(self.session.get_inputs()) > 1:
            feeds["cells"] = cells.reshape(-1)
        (similarities,) = self.session.run(["similarities"], feeds)
        scores = np.sqrt(2 - 2 * np.clip(similarities, -1, 1)).mean(axis=1).astype(np.float32)
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores.reshape(cells.shape))]
        )
