"""
A well-behaved client: scores one image after another until its standard input ends. For every line of its input it
prints its results since the last one, as a JSON object. Every score of every answer must equal that of the first answer
(within 1e-5: engines sum in another order in batches of another size). The first line of output is the first result.
"""
import argparse
import json
import queue
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
    """All patch scores by row and column, and the image score."""
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


class Phase:
    """Results since the last line of standard input."""

    def __init__(self):
        self.latencies: list[float] = []
        self.failures: list[str] = []
        self.wrong = 0
        self.retried = 0

    def report(self) -> str:
        ordered = sorted(round(1000 * seconds) for seconds in self.latencies)
        at = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
        return json.dumps(
            {
                "scored": len(ordered),
                "wrong": self.wrong,
                "retried": self.retried,
                "failures": self.failures,
                "p50Ms": at(0.5),
                "p99Ms": at(0.99),
            }
        )


def score_once(stub, model: str, pixels: bytes, expected, phase: Phase) -> None:
    """Scores one image, with retries for ten seconds where the server sends a retry delay."""
    began = time.monotonic()
    while True:
        try:
            phase.wrong += not is_same(score(stub, model, pixels), expected)
            phase.latencies.append(time.monotonic() - began)
            return
        except grpc.RpcError as error:
            if error.code() not in RETRIES or time.monotonic() - began > 10:
                phase.failures.append(f"{error.code().name}: {error.details()[:200]}")
                return
            phase.retried += 1
            time.sleep(0.1)


def read_lines(lines: "queue.Queue[str]") -> None:
    for line in sys.stdin:
        lines.put(line)
    lines.put("")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--model", default="phantom")
    parser.add_argument("--pause", type=float, default=0.05)
    options = parser.parse_args()
    pixels = image()
    stub = service.AnomalyScoringStub(grpc.insecure_channel(options.address))
    expected = score(stub, options.model, pixels)
    print(json.dumps({"patches": len(expected[0]), "score": expected[1]}), flush=True)
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=read_lines, args=(lines,), daemon=True).start()
    phase = Phase()
    while True:
        score_once(stub, options.model, pixels, expected, phase)
        try:
            line = lines.get(timeout=options.pause)
        except queue.Empty:
            continue
        if not line:
            return
        print(phase.report(), flush=True)
        phase = Phase()


main()
