"""The simplest server for comparison: grpc.aio and onnxruntime, one inference per request message.

It implements salad.v1.AnomalyScoring in tile mode with the exported graph of the model (ONNX). Tiles that a
message completes are scored immediately, as one batch, in a thread next to the event loop. It has no batching across
streams, no priorities and no admission control.

Usage: server.py --bundle DIR --onnx FILE --threads N   (generated stubs on PYTHONPATH)
"""

import argparse
import asyncio
import json
import math
import pathlib

import grpc
import numpy as np
import onnxruntime
from salad.v1 import anomaly_scoring_pb2 as pb
from salad.v1 import anomaly_scoring_pb2_grpc as pb_grpc
from salad.v1 import types_pb2 as types


class Model:
    """A bundle: its geometry, its calibration, and one onnxruntime session."""

    def __init__(self, bundle: pathlib.Path, onnx: str, threads: int):
        manifest = json.loads((bundle / "manifest.json").read_text())
        tiling, self.scoring = manifest["tiling"], manifest["scoring"]
        self.name, self.version = manifest["name"], manifest["version"]
        self.size = manifest["input"]["workingSize"]
        self.core, self.halo = tiling["coreSize"], tiling["haloSize"]
        self.cores = tiling.get("coresPerTile", 1)
        self.width = self.cores * self.core
        self.per_side, self.stride = tiling["patchesPerSide"], tiling["patchStride"]
        self.patch_size, self.patch_offset = tiling["patchSize"], tiling["patchOffset"]
        self.min_std = tiling["minStd"]
        self.tile_rows, self.tile_columns = self.size // self.core, self.size // self.width
        self.grid = self.tile_rows * self.per_side
        calibration = manifest["calibration"]
        self.median = np.array(calibration["patchMedian"]).reshape(self.grid, self.grid)
        self.mad = np.array(calibration["patchMad"]).reshape(self.grid, self.grid)
        self.quantiles = np.array(calibration["patchZQuantiles"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        self.has_window = self.scoring["searchRadius"] is not None
        # Coordinates including the halo, mirrored at the border as in the training of the bundle.
        padded = np.abs(np.arange(-self.halo, self.size + self.halo))
        self.mirror = np.where(padded < self.size, padded, 2 * (self.size - 1) - padded)

    def geometry(self) -> types.Geometry:
        return types.Geometry(
            working_rows=self.size,
            working_columns=self.size,
            core_size=self.core,
            core_columns=self.width,
            halo_size=self.halo,
            tile_rows=self.tile_rows,
            tile_columns=self.tile_columns,
            patch_rows=self.grid,
            patch_columns=self.grid,
            patch_stride=self.stride,
            patch_size=self.patch_size,
            patch_offset=self.patch_offset,
        )

    def cut(self, image: np.ndarray, row: int, column: int) -> np.ndarray:
        rows = self.mirror[row * self.core : (row + 1) * self.core + 2 * self.halo]
        columns = self.mirror[column * self.width : (column + 1) * self.width + 2 * self.halo]
        return image[np.ix_(rows, columns)]

    def infer(self, tiles: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """From tiles uint8 [n, H, W, 1] and cells int64 [n * P], computes patch scores [n * P]."""
        feeds = {"tiles": tiles}
        if self.has_window:
            feeds["cells"] = cells
        (similarities,) = self.session.run(["similarities"], feeds)
        cosines = np.clip(similarities, -1, 1)
        if self.scoring["distance"] == "angular":
            return (np.arccos(cosines) / math.pi).mean(axis=1)
        return np.sqrt(2 - 2 * cosines).mean(axis=1)

    def cells(self, row: int, column: int) -> np.ndarray:
        rows = row * self.per_side + np.arange(self.per_side)
        per_tile = self.cores * self.per_side
        columns = column * per_tile + np.arange(per_tile)
        return (rows[:, None] * self.grid + columns[None, :]).reshape(-1)

    def is_background(self, core: np.ndarray) -> np.ndarray:
        """From a tile's core [rows, columns], computes bool [patches], row by row: whether the patch's core is flat."""
        flat = np.array([part.std() < self.min_std for part in np.split(core, self.cores, axis=1)])
        return np.tile(np.repeat(flat, self.per_side), self.per_side)


class Acquisition:
    """An image that is being received."""

    def __init__(self, model: Model):
        self.model = model
        self.image = np.zeros((model.size, model.size), np.uint8)
        self.received = np.zeros((model.tile_rows, model.tile_columns), bool)
        self.done = np.zeros((model.tile_rows, model.tile_columns), bool)
        self.skipped = np.zeros((model.grid, model.grid), bool)
        self.z = np.full((model.grid, model.grid), np.nan)
        self.halo_tiles = math.ceil(model.halo / model.core), math.ceil(model.halo / model.width)

    def add(self, tiles) -> list[tuple[int, int]]:
        """Stores the tiles; returns the tiles whose halo is now complete and that are not background."""
        for tile in tiles:
            core = self.core_of(tile.row, tile.column)
            core[:] = np.frombuffer(tile.samples, np.uint8).reshape(core.shape)
            self.received[tile.row, tile.column] = True
        ready = []
        rows, columns = self.halo_tiles
        for row, column in np.argwhere(~self.done):
            neighbours = self.received[
                max(0, row - rows) : row + rows + 1, max(0, column - columns) : column + columns + 1
            ]
            if not neighbours.all():
                continue
            self.done[row, column] = True
            background = self.model.is_background(self.core_of(row, column))
            self.skipped.flat[self.model.cells(row, column)[background]] = True
            if not background.all():
                ready.append((int(row), int(column)))
        return ready

    def core_of(self, row: int, column: int) -> np.ndarray:
        """A view of the pixels of a tile's core."""
        core, width = self.model.core, self.model.width
        return self.image[row * core : (row + 1) * core, column * width : (column + 1) * width]

    def score(self, ready: list[tuple[int, int]]) -> list[types.PatchScore]:
        model = self.model
        tiles = np.stack([model.cut(self.image, row, column) for row, column in ready])[..., None]
        cells = np.concatenate([model.cells(row, column) for row, column in ready])
        scores = model.infer(tiles, cells)
        scored = ~self.skipped.flat[cells]
        scores, cells = scores[scored], cells[scored]
        rows, columns = cells // model.grid, cells % model.grid
        z = (scores - model.median[rows, columns]) / (1.4826 * model.mad[rows, columns])
        self.z[rows, columns] = z
        above = 1 - np.searchsorted(model.quantiles, z) / len(model.quantiles)
        return [
            types.PatchScore(row=int(r), column=int(c), score=float(s), robust_z=float(v), p_value=float(p))
            for r, c, s, v, p in zip(rows, columns, scores, z, above)
        ]

    def aggregate(self, acquisition_id: str) -> types.AcquisitionAggregate:
        scored = np.sort(self.z[~np.isnan(self.z)])[::-1]
        top = max(1, math.ceil(self.model.scoring["aggregate"]["topFraction"] * len(scored)))
        return types.AcquisitionAggregate(
            acquisition_id=acquisition_id,
            image_score=float(scored[:top].mean()) if len(scored) else math.nan,
            decision=types.DECISION_INDETERMINATE,
            coverage=types.Coverage(scored=len(scored)),
        )


class AnomalyScoring(pb_grpc.AnomalyScoringServicer):
    def __init__(self, model: Model):
        self.model = model

    async def StreamAcquisition(self, requests, context):
        loop = asyncio.get_running_loop()
        acquisition, acquisition_id = Acquisition(self.model), ""
        async for request in requests:
            kind = request.WhichOneof("payload")
            if kind == "header":
                acquisition_id = request.header.acquisition_id
                accepted = types.AcquisitionAccepted(
                    acquisition_id=acquisition_id,
                    model=types.ModelIdentity(name=self.model.name, version=self.model.version),
                    engine="onnx",
                    geometry=self.model.geometry(),
                    scores_before_last_pixel=True,
                )
                yield pb.StreamAcquisitionResponse(accepted=accepted)
            elif kind == "tiles":
                ready = acquisition.add(request.tiles.tiles)
                if ready:
                    patches = await loop.run_in_executor(None, acquisition.score, ready)
                    yield pb.StreamAcquisitionResponse(patch_scores=types.PatchScores(patches=patches))
            elif kind == "end":
                yield pb.StreamAcquisitionResponse(aggregate=acquisition.aggregate(acquisition_id))


async def serve(arguments: argparse.Namespace) -> None:
    model = Model(pathlib.Path(arguments.bundle), arguments.onnx, arguments.threads)
    server = grpc.aio.server()
    pb_grpc.add_AnomalyScoringServicer_to_server(AnomalyScoring(model), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"event": "ready", "address": f"127.0.0.1:{port}"}), flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--onnx", required=True)
    parser.add_argument("--threads", type=int, required=True)
    asyncio.run(serve(parser.parse_args()))
