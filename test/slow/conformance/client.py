"""A client of salad.v1 written from the .proto files alone: none of the project's code is used.

    python client.py PROTO_FOLDER HOST:PORT

Reads one case a line as JSON, scores its image as rows and as tiles of display values, and writes one result a line.
A case: {"model", "rows", "columns", "samples" (file of stored values, little-endian), "image" (fields of ImageFormat)}.
Numbers in brackets are the steps of the comment of `enum Source` in types.proto.
"""

import json
import pathlib
import queue
import subprocess
import sys
import tempfile

import grpc
import numpy as np
from google.protobuf import json_format


def stubs(protos):
    """Generates the Python modules of the contract."""
    out = tempfile.mkdtemp()
    files = [str(pathlib.Path(protos, "salad/v1", f"{name}.proto")) for name in ("types", "anomaly_scoring")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", f"--python_out={out}"]
    subprocess.run([*command, f"--grpc_python_out={out}", *files], check=True)
    sys.path.insert(0, out)


stubs(sys.argv[1])
from salad.v1 import anomaly_scoring_pb2, anomaly_scoring_pb2_grpc, types_pb2  # noqa: E402


def stored_values(samples, image):
    """Samples as whole numbers: bits_stored bits, signed or not."""
    kind = np.dtype("<u1") if image.bits_allocated == 8 else np.dtype("<u2")
    bits = image.bits_stored or image.bits_allocated
    values = np.frombuffer(samples, kind).astype(np.int64) & ((1 << bits) - 1)
    if image.is_signed:
        values = np.where(values >= 1 << (bits - 1), values - (1 << bits), values)
    low = -(1 << (bits - 1)) if image.is_signed else 0
    return values.reshape(image.rows, image.columns), low, low + (1 << bits) - 1


def display_values(samples, image):
    """[1] Modality rescale, VOI, MONOCHROME1."""
    s, low, high = stored_values(samples, image)
    slope = image.rescale_slope if image.HasField("rescale_slope") else 1.0
    v = slope * s + image.rescale_intercept
    transform = image.voi.WhichOneof("transform")
    if transform == "window":
        d = window(v, image.voi.window)
    elif transform == "lut":
        lut = image.voi.lut
        entries = np.array(lut.entries, np.float64)
        at = np.clip(np.floor(v - lut.first_value + 0.5), 0, len(entries) - 1).astype(int)
        d = 255 * entries[at] / (2**lut.bits_per_entry - 1)
    else:
        d = 255 * (s - low if slope > 0 else high - s) / (high - low)
    d = np.clip(d, 0, 255)
    is_monochrome1 = image.photometric_interpretation == types_pb2.PHOTOMETRIC_INTERPRETATION_MONOCHROME1
    return as_float32(255 - d if is_monochrome1 else d)


def as_float32(values):
    return values.astype(np.float32).astype(np.float64)


def window(v, voi):
    c, w = voi.center, voi.width
    if voi.function == types_pb2.VOI_FUNCTION_SIGMOID:
        return 255 / (1 + np.exp(-4 * (v - c) / w))
    if voi.function == types_pb2.VOI_FUNCTION_LINEAR_EXACT:
        d = ((v - c) / w + 0.5) * 255
        return np.where(v <= c - w / 2, 0, np.where(v > c + w / 2, 255, d))
    d = ((v - (c - 0.5)) / (w - 1) + 0.5) * 255
    return np.where(v <= c - 0.5 - (w - 1) / 2, 0, np.where(v > c - 0.5 + (w - 1) / 2, 255, d))


def weights(n, m):
    """[2] The filter as a matrix [m, n]."""
    scale = n / m
    centre = ((np.arange(m) + 0.5) * scale)[:, None]
    j = np.arange(n)[None, :]
    if scale >= 1:
        weight = np.minimum(j + 1, centre + scale / 2) - np.maximum(j, centre - scale / 2)
    else:
        weight = 1 - np.abs(j + 0.5 - centre)
    weight = np.maximum(0, weight)
    return weight / weight.sum(axis=1, keepdims=True)


def working_image(display, accepted):
    """[2], [3] Resampled and placed."""
    geometry, place = accepted.geometry, accepted.placement
    rows, columns = display.shape
    within_rows = as_float32(display @ weights(columns, place.columns).T)
    placed = weights(rows, place.rows) @ within_rows
    image = np.zeros((geometry.working_rows, geometry.working_columns), "<f4")
    image[place.top : place.top + place.rows, place.left : place.left + place.columns] = placed
    return image


class Acquisition:
    """One call: requests are made while answers come."""

    def __init__(self, stub, header):
        self.stub, self.header, self.patches = stub, header, {}
        self.aggregate = None

    def run(self, pixels):
        request = anomaly_scoring_pb2.StreamAcquisitionRequest
        ready = queue.Queue()

        def requests():
            yield request(header=self.header)
            for part in pixels(ready.get(timeout=30)):
                yield request(**part)
            yield request(end=types_pb2.AcquisitionEnd())

        for response in self.stub.StreamAcquisition(requests()):
            which = response.WhichOneof("payload")
            if which == "accepted":
                ready.put(response.accepted)
            elif which == "patch_scores":
                self.patches.update({f"{p.row},{p.column}": p.score for p in response.patch_scores.patches})
            else:
                self.aggregate = response.aggregate
        return self

    def result(self):
        a = self.aggregate
        decision = types_pb2.Decision.Name(a.decision)
        return {"imageScore": a.image_score, "decision": decision, "patches": self.patches}


def as_rows(samples, image):
    row_bytes = image.columns * image.bits_allocated // 8

    def pixels(_accepted):
        for first in range(0, image.rows, 50):
            part = samples[first * row_bytes : (first + 50) * row_bytes]
            yield {"rows": types_pb2.PixelRows(first_row=first, samples=part)}

    return pixels


def as_tiles(samples, image):
    def pixels(accepted):
        geometry = accepted.geometry
        working = working_image(display_values(samples, image), accepted)
        height, width = geometry.core_size, geometry.core_columns
        for row in range(geometry.tile_rows):
            for column in range(geometry.tile_columns):
                core = working[row * height : (row + 1) * height, column * width : (column + 1) * width]
                tile = types_pb2.PixelTile(row=row, column=column, samples=core.tobytes())
                yield {"tiles": types_pb2.PixelTiles(tiles=[tile])}

    return pixels


def score(stub, case):
    samples = pathlib.Path(case["samples"]).read_bytes()
    image = types_pb2.ImageFormat(rows=case["rows"], columns=case["columns"])
    json_format.ParseDict(case["image"], image)
    header = types_pb2.AcquisitionHeader(acquisition_id="conformance", image=image)
    header.model.name = case["model"]
    header.source = types_pb2.SOURCE_ROWS
    rows = Acquisition(stub, header).run(as_rows(samples, image))
    display = types_pb2.ImageFormat(rows=image.rows, columns=image.columns, bits_allocated=32)
    display.bits_stored = image.bits_stored or image.bits_allocated
    if image.voi.WhichOneof("transform") == "auto":
        display.voi.CopyFrom(image.voi)
    of_tiles = types_pb2.AcquisitionHeader()
    of_tiles.CopyFrom(header)
    of_tiles.source = types_pb2.SOURCE_TILES
    of_tiles.image.CopyFrom(display)
    tiles = Acquisition(stub, of_tiles).run(as_tiles(samples, image))
    return {"rows": rows.result(), "tiles": tiles.result()}


def main():
    with grpc.insecure_channel(sys.argv[2]) as channel:
        stub = anomaly_scoring_pb2_grpc.AnomalyScoringStub(channel)
        for line in sys.stdin:
            print(json.dumps(score(stub, json.loads(line))), flush=True)


main()
