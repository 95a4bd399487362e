"""Sends closed-loop streams of images over the Open Inference Protocol.

A stream sends all requests of an image at once, then the next image, like the load generator of salad-serve. Prints one
line when the measured time begins, and one JSON object at the end.
Usage: client.py ADDRESS TILES CELLS --tile-height H --tile-width W --patches P --streams N --tiles-per-request K ...
"""

import argparse
import asyncio
import json
import time

import grpc
import numpy as np
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub


def requests_of(arguments: argparse.Namespace) -> list[tuple[int, pb.ModelInferRequest]]:
    """The requests of the image with their number of tiles, with raw contents, as the protocol recommends."""
    tiles = np.fromfile(arguments.tiles, np.uint8).reshape(-1, arguments.tile_height, arguments.tile_width, 1)
    cells = np.fromfile(arguments.cells, np.int64).reshape(-1, arguments.patches)
    requests = []
    for start in range(0, len(tiles), arguments.tiles_per_request):
        part = tiles[start : start + arguments.tiles_per_request]
        positions = cells[start : start + len(part)]
        tensor = pb.ModelInferRequest.InferInputTensor
        request = pb.ModelInferRequest(
            model_name="salad",
            inputs=[
                tensor(name="tiles", datatype="UINT8", shape=part.shape),
                tensor(name="cells", datatype="INT64", shape=positions.shape),
            ],
            raw_input_contents=[part.tobytes(), positions.tobytes()],
        )
        requests.append((len(part), request))
    return requests


async def ready(stub: GRPCInferenceServiceStub) -> None:
    for _ in range(600):
        try:
            if (await stub.ModelReady(pb.ModelReadyRequest(name="salad"))).ready:
                return
        except grpc.aio.AioRpcError:
            pass
        await asyncio.sleep(0.1)
    raise SystemExit("MLServer did not become ready within a minute")


async def run(arguments: argparse.Namespace) -> dict:
    requests = requests_of(arguments)
    async with grpc.aio.insecure_channel(arguments.address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        await ready(stub)
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
    parser.add_argument("cells")
    parser.add_argument("--tile-height", type=int, required=True)
    parser.add_argument("--tile-width", type=int, required=True)
    parser.add_argument("--patches", type=int, required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--tiles-per-request", type=int, required=True)
    parser.add_argument("--duration", type=float, required=True)
    parser.add_argument("--warm-up", type=float, required=True)
    print(json.dumps(asyncio.run(run(parser.parse_args()))))
