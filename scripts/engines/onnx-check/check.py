"""Checks an exported model with onnx.checker (with shape inference) and onnxruntime, without code of salad-serve.

Runs the golden tiles and computes their scores from the ONNX file and the manifest of the bundle alone.
Usage: check.py MODEL.onnx BUNDLE_DIR. Prints one JSON object; exit code 1 if the error of a score is too large.
"""

import json
import pathlib
import struct
import sys

import numpy as np
import onnx
import onnxruntime

SCORE_ERROR_MAX = 1e-4
DTYPES = {"U8": "<u1", "I32": "<i4", "F32": "<f4"}


def safetensors(path):
    """Reads a safetensors file. Returns {name: array}."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    start = 8 + length
    arrays = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            values = np.frombuffer(data[start + first : start + last], DTYPES[entry["dtype"]])
            arrays[name] = values.reshape(entry["shape"])
    return arrays


def patch_cells(positions, rows_per_tile, columns_per_tile, grid):
    """Returns int64 [tiles * rows * columns]: the cell of every patch in the image's grid, row by row within a tile."""
    row, column = np.meshgrid(np.arange(rows_per_tile), np.arange(columns_per_tile), indexing="ij")
    rows = positions[:, :1] * rows_per_tile + row.reshape(1, -1)
    columns = positions[:, 1:] * columns_per_tile + column.reshape(1, -1)
    return (rows * grid + columns).reshape(-1).astype(np.int64)


def prototypes_of(model):
    """Returns the prototypes in the graph, float64 [rows, D]."""
    (bank,) = [tensor for tensor in model.graph.initializer if tensor.name == "bank/prototypes"]
    return onnx.numpy_helper.to_array(bank).T.astype(np.float64)


def patch_scores(embeddings, neighbours, scoring):
    """Computes float64 [patches] from embeddings [patches, D] and their nearest prototypes [patches, K, D]."""
    chord = np.linalg.norm(embeddings[:, None, :] - neighbours, axis=-1)
    angle = 2 * np.arcsin(np.minimum(1, chord / 2)) / np.pi
    distance = chord if scoring["distance"] == "chord" else angle
    if scoring["form"] == "mean":
        return distance.mean(axis=-1)
    weights = np.exp(-(chord**2) / 2 / scoring["temperature"])
    return (weights * distance).sum(axis=-1) / weights.sum(axis=-1)


def main(onnx_file, bundle):
    onnx.checker.check_model(onnx_file, full_check=True)
    model = onnx.load(onnx_file)
    manifest = json.loads((bundle / "manifest.json").read_text())
    tiling, scoring = manifest["tiling"], manifest["scoring"]
    per_side, cores = tiling["patchesPerSide"], tiling.get("coresPerTile", 1)
    grid = manifest["input"]["workingSize"] // tiling["coreSize"] * per_side
    golden = safetensors(bundle / "golden.safetensors")

    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    feeds = {"tiles": golden["pixels"][..., None]}
    if scoring["searchRadius"] is not None:
        feeds["cells"] = patch_cells(golden["positions"], per_side, cores * per_side, grid)
    embeddings, similarities, indices = session.run(["embeddings", "similarities", "indices"], feeds)
    assert similarities.shape == indices.shape == (embeddings.shape[0], scoring["neighbourCount"])
    neighbours = prototypes_of(model)[indices]
    scores = patch_scores(embeddings.astype(np.float64), neighbours, scoring)
    error = float(np.abs(scores - golden["scores"].reshape(-1)).max())
    # Also checks the cosines that the graph returns, which it computes in float32.
    cosines = np.einsum("pd,pkd->pk", embeddings.astype(np.float64), neighbours)
    cosine_error = float(np.abs(np.minimum(cosines, 1) - similarities).max())
    passed = error <= SCORE_ERROR_MAX and cosine_error <= 1e-5
    report = {
        "model": f"{manifest['name']}@{manifest['version']}",
        "passed": passed,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "opset": model.opset_import[0].version,
        "nodes": len(model.graph.node),
        "tiles": len(golden["pixels"]),
        "maxAbsScoreError": error,
        "maxAbsCosineError": cosine_error,
    }
    print(json.dumps(report))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], pathlib.Path(sys.argv[2])))
