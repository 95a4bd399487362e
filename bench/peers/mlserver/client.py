"""Sends closed-loop streams of images over the Open Inference Protocol.

A stream sends all requests of an image at once, then the next image, like the load generator of salad-serve. Prints one
line when the measured time begins, and one JSON object at the end.
Usage: client.py ADDRESS TILES PLACES --server other|salad --tile-height H --tile-width W --patches P --streams N
--tiles-per-request K ...
PLACES are the cells of the patches (int64) for other servers, and the positions of the tiles (int32) for salad-serve.
"""

import argparse
import asyncio
import json
import time

import grpc
import numpy as np
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub


class Model:
    """The names and types of one model."""

    def __init__(self, name: str, tiles: str, places: str, datatype: str, dtype: type, places_per_tile: int) -> None:
        self.name = name
        self.tiles = tiles
        self.places = places
        self.datatype = datatype
        self.dtype = dtype
        self.places_per_tile = places_per_tile


def model_of(arguments: argparse.Namespace) -> Model:
    if arguments.server == "salad":
        return Model(f"{arguments.model}.tiles", "tile", "position", "INT32", np.int32, 2)
    return Model(arguments.model, "tiles", "cells", "INT64", np.int64, arguments.patches)


def requests_of(arguments: argparse.Namespace, model: Model) -> list[tuple[int, pb.ModelInferRequest]]:
    """The requests of the image with their number of tiles, with raw contents, as the protocol recommends."""
    tiles = np.fromfile(arguments.tiles, np.uint8).reshape(-1, arguments.tile_height, arguments.tile_width, 1)
    places = np.fromfile(arguments.places, model.dtype).reshape(-1, model.places_per_tile)
    requests = []
    for start in range(0, len(tiles), arguments.tiles_per_request):
        part = tiles[start : start + arguments.tiles_per_request]
        part_places = places[start : start + len(part)]
        tensor = pb.ModelInferRequest.InferInputTensor
        request = pb.ModelInferRequest(
            model_name=model.name,
            inputs=[
                tensor(name=model.tiles, datatype="UINT8", shape=part.shape),
                tensor(name=model.places, datatype=model.datatype, shape=part_places.shape),
            ],
            raw_input_contents=[part.tobytes(), part_places.tobytes()],
        )
        requests.append((len(part), request))
    return requests


async def ready(stub: GRPCInferenceServiceStub, model: Model) -> None:
    for _ in range(600):
        try:
            if (await stub.ModelReady(pb.ModelReadyRequest(name=model.name))).ready:
                return
        except grpc.aio.AioRpcError:
            pass
        await asyncio.sleep(0.1)
    raise SystemExit(f"{model.name} did not become ready within a minute")


async def run(arguments: argparse.Namespace) -> dict:
    model = model_of(arguments)
    requests = requests_of(arguments, model)
    async with grpc.aio.insecure_channel(arguments.address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        await ready(stub, model)
        start = time.perf_counter()
        count_from, stop_at = start + arguments.warm_up, start + arguments.warm_up + arguments.duration
        scored, failed, failure, latencies = 0, 0, None, []

        async def infer(count: int, request: pb.ModelInferRequest) -> None:
            nonlocal scored, failed, failure
            try:
                await stub.ModelInfer(request)
                if count_from <= time.perf_counter() <= stop_at:
                    scored += count
            except grpc.aio.AioRpcError as error:
                failed += 1
                failure = failure or f"{error.code().name}: {error.details()}"

        async def stream() -> None:
            while (started := time.perf_counter()) < stop_at:
                await asyncio.gather(*(infer(count, request) for count, request in requests))
                if started >= count_from:
                    latencies.append(1000 * (time.perf_counter() - started))

        async def announce() -> None:
            await asyncio.sleep(count_from - time.perf_counter())
            print(json.dumps({"event": "measuring"}), flush=True)

        await asyncio.gather(announce(), *(stream() for _ in range(arguments.streams)))
    latencies.sort()
    at = lambda share: latencies[min(len(latencies) - 1, int(share * len(latencies)))] if latencies else None
    return {
        "tilesPerSecond": scored / arguments.duration,
        "acquisitionP50Ms": at(0.5),
        "acquisitionP99Ms": at(0.99),
        "acquisitions": len(latencies),
        "failed": failed,
        "failure": failure,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("tiles")
    parser.add_argument("places")
    parser.add_argument("--server", choices=["other", "salad"], required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tile-height", type=int, required=True)
    parser.add_argument("--tile-width", type=int, required=True)
    parser.add_argument("--patches", type=int, required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--tiles-per-request", type=int, required=True)
    parser.add_argument("--duration", type=float, required=True)
    parser.add_argument("--warm-up", type=float, required=True)
    print(json.dumps(asyncio.run(run(parser.parse_args()))))
