"""Streams rows as a detector reads them out, and reads scores meanwhile: python stream_detector.py HOST:PORT MODEL"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from salad_client import Accepted, Aggregate, Header, ImageFormat, Patches, SaladClient, SaladError

ROWS, COLUMNS, BAND = 1024, 1024, 32


def detector() -> Iterator[npt.NDArray[np.uint16]]:
    """Bands of 32 rows of 12-bit samples: noise, in the place of what a detector reads out."""
    random = np.random.default_rng(7)
    for _ in range(0, ROWS, BAND):
        time.sleep(0.02)
        yield random.integers(1000, 3000, (BAND, COLUMNS), np.uint16)


def main(target: str, model: str) -> int:
    header = Header(model, ImageFormat(rows=ROWS, columns=COLUMNS, bits_allocated=16, bits_stored=12))
    with SaladClient(target) as client:
        try:
            for event in client.stream(header, detector()):
                if isinstance(event, Accepted):
                    print(f"accepted by {event.model.name} version {event.model.version} on {event.engine}")
                elif isinstance(event, Patches):
                    print(f"{len(event.patches)} patch scores")
                elif isinstance(event, Aggregate):
                    decision = event.decision.name.lower()
                    print(f"{decision}, p = {event.p_value:.4f}, {event.coverage.scored} patches scored")
        except SaladError as error:
            print(f"the call failed: {error.message}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("usage: stream_detector.py HOST:PORT MODEL", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
