"""
A client that behaves: one image after another, until its standard input ends. Every score of every answer must be the
one that the first answer had (within 1e-5: engines sum in another order in batches of another size). Prints a line once it has that one, and a JSON object at the end.
"""
import argparse
import json
import random
import sys
import threading
import time

import grpc
from salad.v1 import anomaly_scoring_pb2 as wire
from salad.v1 import anomaly_scoring_pb2_grpc as service
from salad.v1 import types_pb2 as types

SIDE = 512
RETRIES = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)


def image() -> bytes:
    """A gradient with noise: no background, so that every tile is scored."""
    noise = random.Random(4)
    return bytes(
        min(255, max(0, (x + y) // 8 + noise.randrange(64))) for y in range(SIDE) for x in range(SIDE)
    )


def requests(model: str, pixels: bytes):
    yield wire.StreamAcquisitionRequest(
        header=types.AcquisitionHeader(
            acquisition_id="good",
            model=types.ModelSelector(name=model),
            image=types.ImageFormat(rows=SIDE, columns=SIDE, bits_allocated=8),
            source=types.SOURCE_ROWS,
        )
    )
    for first in range(0, SIDE, 64):
        samples = pixels[first * SIDE : (first + 64) * SIDE]
        yield wire.StreamAcquisitionRequest(rows=types.PixelRows(first_row=first, samples=samples))
    yield wire.StreamAcquisitionRequest(end=types.AcquisitionEnd())


def score(stub, model: str, pixels: bytes):
    """All patch scores by place, and the image score."""
    patches = {}
    total = None
    for answer in stub.StreamAcquisition(requests(model, pixels), timeout=30):
        for patch in answer.patch_scores.patches:
            patches[patch.row, patch.column] = patch.score
        if answer.HasField("aggregate"):
            total = answer.aggregate.image_score
    return patches, total


def is_same(one, other) -> bool:
    (patches, total), (expected, expected_total) = one, other
    return (
        patches.keys() == expected.keys()
        and all(abs(patches[place] - expected[place]) <= 1e-5 for place in patches)
        and abs(total - expected_total) <= 1e-4 * abs(expected_total)
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--model", default="phantom")
    parser.add_argument("--pause", type=float, default=0.1)
    options = parser.parse_args()
    pixels = image()
    channel = grpc.insecure_channel(options.address)
    stub = service.AnomalyScoringStub(channel)
    expected = score(stub, options.model, pixels)
    print(json.dumps({"patches": len(expected[0]), "score": expected[1]}), flush=True)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    latencies, failures, wrong, retried = [], [], 0, 0
    while not stop.is_set():
        began = time.monotonic()
        while True:
            try:
                wrong += not is_same(score(stub, options.model, pixels), expected)
                latencies.append(time.monotonic() - began)
                break
            except grpc.RpcError as error:
                if error.code() not in RETRIES or time.monotonic() - began > 5:
                    failures.append(f"{error.code().name}: {error.details()[:200]}")
                    break
                retried += 1
                time.sleep(0.1)
        stop.wait(options.pause)
    latencies.sort()
    at = lambda share: round(1000 * latencies[min(len(latencies) - 1, int(share * len(latencies)))]) if latencies else None
    print(
        json.dumps(
            {
                "scored": len(latencies),
                "wrong": wrong,
                "retried": retried,
                "failures": failures,
                "p50Ms": at(0.5),
                "p99Ms": at(0.99),
                "maxMs": at(1),
            }
        ),
        flush=True,
    )


main()
