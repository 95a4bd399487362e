"""Measures PyTorch on the CPU with the weights of an encoder: `pytorch.py THREADS`, same protocol as ort.py.

Runs the ONNX graph node by node with the functions of torch (eager, inference mode). Layout "sessions" uses as many
Python threads as cores, each with one PyTorch thread; layout "threads" uses one Python thread with all PyTorch
threads. Compares the embeddings with those of onnxruntime before the measurement.
"""

import json
import sys
import threading
import time

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F

THREADS = int(sys.argv[1])


def sliced(x, starts, ends, axes):
    for start, end, axis in zip(starts.tolist(), ends.tolist(), axes.tolist()):
        x = x.narrow(axis, start, min(end, x.shape[axis]) - start)
    return x


def padded(x, pads, mode):
    top, left, bottom, right = (pads.tolist()[index] for index in (2, 3, 6, 7))
    return F.pad(x, (left, right, top, bottom), mode=mode)


def resized(attributes, x, sizes):
    aligned = attributes["coordinate_transformation_mode"] == b"align_corners"
    return F.interpolate(x, sizes.tolist(), mode="bilinear", align_corners=aligned)


OPS = {
    "Cast": lambda a, x: x.float(),
    "Reshape": lambda a, x, shape: x.reshape(shape.tolist()),
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Conv": lambda a, x, w, b=None: F.conv2d(x, w, b, stride=a["strides"], padding=a["pads"][0]),
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a["alpha"]),
    "MaxPool": lambda a, x: F.max_pool2d(x, a["kernel_shape"], a["strides"]),
    "AveragePool": lambda a, x: F.avg_pool2d(
        x, a["kernel_shape"], a["strides"], a["pads"][0], count_include_pad=False
    ),
    "Pad": lambda a, x, pads: padded(x, pads, a["mode"].decode()),
    "Slice": lambda a, x, starts, ends, axes: sliced(x, starts, ends, axes),
    "Concat": lambda a, *x: torch.cat(x, a["axis"]),
    "Add": lambda a, x, y: x + y,
    "Sub": lambda a, x, y: x - y,
    "Mul": lambda a, x, y: x * y,
    "Div": lambda a, x, y: x / y,
    "Sqrt": lambda a, x: x.sqrt(),
    "Log": lambda a, x: x.log(),
    "Clip": lambda a, x, low, high: x.clamp(low, high),
    "Resize": lambda a, x, _region, _scales, sizes: resized(a, x, sizes),
    "ReduceSum": lambda a, x, axes: x.sum(axes.tolist(), keepdim=bool(a["keepdims"])),
}


class Encoder:
    """The nodes of a graph in order, and its initializers as tensors."""

    def __init__(self, file):
        graph = onnx.load(file).graph
        self.weights = {w.name: torch.from_numpy(onnx.numpy_helper.to_array(w).copy()) for w in graph.initializer}
        self.nodes = [
            (
                OPS[node.op_type],
                {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute},
                list(node.input),
                node.output[0],
            )
            for node in graph.node
        ]

    def __call__(self, tiles):
        values = {**self.weights, "tiles": tiles, "": None}  # "": an omitted input
        for operation, attributes, inputs, output in self.nodes:
            values[output] = operation(attributes, *(values[name] for name in inputs))
        return values["embeddings"]


encoders = {}


def load_encoder(file, tiles):
    if file not in encoders:
        encoder = Encoder(file)
        expected = onnxruntime.InferenceSession(file).run(["embeddings"], {"tiles": tiles})[0]
        error = np.abs(encoder(torch.from_numpy(tiles)).numpy() - expected).max()
        assert error < 1e-4, f"{file}: embeddings differ from onnxruntime's by {error}"
        encoders[file] = encoder
    return encoders[file]


def measure(request):
    side = onnx.load(request["onnx"]).graph.input[0].type.tensor_type.shape.dim[1].dim_value
    shape = (request["batchSize"], side, side, 1)
    tiles = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    encoder = load_encoder(request["onnx"], tiles)
    batch = torch.from_numpy(tiles)
    per_core = request["layout"] == "sessions"
    count = THREADS if per_core else 1
    done = [0] * count
    start = threading.Barrier(count)

    def loop(index):
        torch.set_num_threads(1 if per_core else THREADS)
        with torch.inference_mode():
            start.wait()
            end = time.perf_counter() + request["seconds"]
            while time.perf_counter() < end:
                encoder(batch)
                done[index] += request["batchSize"]

    threads = [threading.Thread(target=loop, args=(index,)) for index in range(count)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"tiles": sum(done), "ms": 1000 * (time.perf_counter() - started)}


with torch.inference_mode():
    print(json.dumps({"version": torch.__version__}), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(json.loads(line))), flush=True)
