"""Uses KServe's client with raw and with typed contents: python kserve_client.py HOST:PORT MODEL SAMPLES ROWS COLUMNS PNG"""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

target, model, samples, rows, columns, png = sys.argv[1:]
image = np.fromfile(samples, "<u2").reshape(1, int(rows), int(columns), 1)
# Its parameters are whole numbers and texts.
WINDOW = {"window_center": "2000.0", "window_width": 3000, "window_function": "LINEAR_EXACT"}


def inputs():
    raw = InferInput("image", list(image.shape), "UINT16")
    raw.set_data_from_numpy(image, binary_data=True)
    typed = InferInput("image", list(image.shape), "UINT16", data=image.flatten().tolist())
    scaled = InferInput("image", list(image.shape), "INT16", data=image.flatten().astype(int).tolist())
    file = InferInput("image", [1], "BYTES", data=[open(png, "rb").read()])
    return {"raw": raw, "typed": typed, "signed": scaled, "file": file}


async def main():
    async with InferenceGRPCClient(target) as client:
        ready = await client.is_model_ready(model)
        print(json.dumps({"step": "ready", "ready": ready and await client.is_server_ready() and await client.is_server_live()}))
        for name, inp in inputs().items():
            request = InferRequest(model_name=model, request_id=name, infer_inputs=[inp], parameters=WINDOW)
            response = await client.infer(request)
            outputs = {output.name: output.as_numpy() for output in response.outputs}
            scores = [float(score) for score in outputs["patch_scores"].flatten()]
            values = {"id": response.id, "imageScore": float(outputs["image_score"].flatten()[0]), "scores": scores}
            print(json.dumps({"step": name, **values}), flush=True)


asyncio.run(main())
