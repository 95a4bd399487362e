"""Uses tritonclient as its users do: python triton_client.py HOST:PORT MODEL SAMPLES ROWS COLUMNS PNG

SAMPLES holds uint16 stored values, PNG a file of the same image. Prints one JSON object a step.
"""

import asyncio
import json
import queue
import sys

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.grpc.aio as aioclient
from tritonclient.utils import InferenceServerException

target, model, samples, rows, columns, png = sys.argv[1:]
image = np.fromfile(samples, "<u2").reshape(1, int(rows), int(columns), 1)
WINDOW = {"window_center": 2000.0, "window_width": 3000, "window_function": "LINEAR_EXACT", "bits_stored": 12}


def tensor(array, name="image"):
    datatype = "BYTES" if array.dtype == np.object_ else {"uint16": "UINT16", "uint8": "UINT8"}[str(array.dtype)]
    inp = grpcclient.InferInput(name, list(array.shape), datatype)
    inp.set_data_from_numpy(array)
    return inp


def summary(result):
    response = result.get_response()
    return {
        "id": response.id,
        "imageScore": float(result.as_numpy("image_score")[0, 0]),
        "pValue": float(result.as_numpy("p_value")[0, 0]),
        "decision": result.as_numpy("decision")[0, 0].decode(),
        "scores": [float(score) for score in result.as_numpy("patch_scores")[0].flatten()],
        "engine": response.parameters["engine"].string_param,
        "bundle": response.parameters["bundle_sha256"].string_param,
    }


def show(step, **values):
    print(json.dumps({"step": step, **values}), flush=True)


def sync():
    with grpcclient.InferenceServerClient(target) as client:
        config = client.get_model_config(model, as_json=True)["config"]
        statistics = client.get_inference_statistics(model, as_json=True)["model_stats"]
        show(
            "metadata",
            live=client.is_server_live(),
            ready=client.is_server_ready() and client.is_model_ready(model),
            unknown=client.is_model_ready("nothing"),
            server=client.get_server_metadata(as_json=True)["name"],
            inputs=[t["name"] for t in client.get_model_metadata(model, as_json=True)["inputs"]],
            maxBatchSize=config["max_batch_size"],
            index=[entry.name for entry in client.get_model_repository_index().models],
            statistics=len(statistics),
        )
        show("sync", **summary(client.infer(model, [tensor(image)], request_id="one", parameters=WINDOW)))
        file = np.array([open(png, "rb").read()], dtype=np.object_)
        show("file", **summary(client.infer(model, [tensor(file)], parameters=WINDOW, priority=1, timeout=9_000_000)))
        packed = client.infer(model, [tensor(image)], parameters=WINDOW, compression_algorithm="gzip")
        show("compressed", **summary(packed))
        done = queue.Queue()
        client.async_infer(model, [tensor(image)], lambda result, error: done.put((result, error)), parameters=WINDOW)
        result, error = done.get(timeout=60)
        show("async", error=str(error), **summary(result))
        for name, call in {
            "unknown": lambda: client.infer("nothing", [tensor(image)]),
            "parameter": lambda: client.infer(model, [tensor(image)], parameters={"window_centre": 1}),
            "memory": lambda: client.get_system_shared_memory_status(),
            "load": lambda: client.load_model(model),
        }.items():
            try:
                call()
                show(name)
            except InferenceServerException as error:
                show(name, status=error.status(), message=error.message())
        stream(client)


def stream(client):
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for index in range(5):
        name = "nothing" if index == 3 else model
        client.async_stream_infer(name, [tensor(image)], request_id=str(index), parameters=WINDOW)
    results = []
    for _ in range(5):
        result, error = answers.get(timeout=60)
        results.append({"error": error.message()} if error else summary(result))
    client.stop_stream()
    show("stream", results=results)


async def aio():
    async with aioclient.InferenceServerClient(target) as client:
        ready = await client.is_model_ready(model)
        inputs = [tensor(image)]
        results = await asyncio.gather(*(client.infer(model, inputs, parameters=WINDOW) for _ in range(4)))
        show("aio", ready=ready, results=[summary(result) for result in results])

        async def requests():
            for index in range(3):
                yield {"model_name": model, "inputs": inputs, "request_id": str(index), "parameters": WINDOW}

        answers = [answer async for answer in client.stream_infer(requests())]
        show("aio stream", results=[summary(result) for result, error in answers if error is None])


sync()
asyncio.run(aio())
