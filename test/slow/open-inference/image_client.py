"""Classifies an image with a model of which it knows only the name, as image_client.py of Triton's examples does.

    python image_client.py HOST:PORT MODEL FILE sync|async|stream CLASSES BATCH
"""

import json
import queue
import sys

import numpy as np
import tritonclient.grpc as grpcclient
from PIL import Image
from tritonclient.utils import triton_to_np_dtype

FORMATS = {1: "NHWC", 2: "NCHW"}


def parse_model(metadata, config):
    """The one input and the one output of an image model, or why it is none."""
    if len(metadata.inputs) != 1 or len(metadata.outputs) != 1:
        raise SystemExit(f"expecting 1 input and 1 output, got {len(metadata.inputs)} and {len(metadata.outputs)}")
    inp, out = metadata.inputs[0], metadata.outputs[0]
    if out.datatype != "FP32":
        raise SystemExit(f"expecting output datatype to be FP32, model '{metadata.name}' output type is {out.datatype}")
    is_batched = config.max_batch_size > 0
    if sum(1 for size in out.shape[is_batched:] if size > 1) > 1:
        raise SystemExit("expecting model output to be a vector")
    if len(inp.shape) != 3 + is_batched:
        raise SystemExit(f"expecting input to have {3 + is_batched} dimensions, has {len(inp.shape)}")
    order = FORMATS.get(config.input[0].format)
    if order is None:
        raise SystemExit(f"unexpected input format {config.input[0].format}")
    shape = inp.shape[is_batched:]
    height, width, channels = shape if order == "NHWC" else (shape[1], shape[2], shape[0])
    return inp, out, order, height, width, channels, config.max_batch_size


def preprocess(path, order, datatype, height, width, channels):
    picture = Image.open(path).convert("L" if channels == 1 else "RGB")
    resized = np.array(picture.resize((width, height), Image.BILINEAR))
    typed = (resized if resized.ndim == 3 else resized[:, :, np.newaxis]).astype(triton_to_np_dtype(datatype))
    return typed if order == "NHWC" else np.transpose(typed, (2, 0, 1))


def results(response, output, batched):
    """Top classes of each image, each "VALUE:INDEX:LABEL"."""
    array = response.as_numpy(output)
    return [[text.decode() for text in image] for image in (array if batched else [array])]


def main(target, model, path, mode, classes, batch):
    client = grpcclient.InferenceServerClient(target)
    metadata, config = client.get_model_metadata(model), client.get_model_config(model).config
    inp, out, order, height, width, channels, largest = parse_model(metadata, config)
    image = preprocess(path, order, inp.datatype, height, width, channels)
    data = np.stack([image] * int(batch)) if largest > 0 else image
    tensor = grpcclient.InferInput(inp.name, list(data.shape), inp.datatype)
    tensor.set_data_from_numpy(data)
    wanted = [grpcclient.InferRequestedOutput(out.name, class_count=int(classes))]
    if mode == "sync":
        response = client.infer(model, [tensor], request_id="1", outputs=wanted)
    else:
        done = queue.Queue()
        take = lambda result, error: done.put((result, error))  # noqa: E731
        if mode == "async":
            client.async_infer(model, [tensor], take, request_id="1", outputs=wanted)
        else:
            client.start_stream(take)
            client.async_stream_infer(model, [tensor], request_id="1", outputs=wanted)
        response, error = done.get(timeout=60)
        if mode == "stream":
            client.stop_stream()
        if error is not None:
            raise error
    print(json.dumps(results(response, out.name, largest > 0)))
    client.close()


main(*sys.argv[1:])
