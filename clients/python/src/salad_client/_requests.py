"""Request messages of one acquisition, with the running checksum of their samples."""

from __future__ import annotations

import crc32c as _crc32c
import numpy as np

from ._gen.salad.v1 import anomaly_scoring_pb2 as pb
from ._gen.salad.v1 import types_pb2
from ._messages import header_message
from ._pixels import sendable
from .header import Header
from .source import Chunk, Rows, Tiles


def header_request(header: Header) -> pb.StreamAcquisitionRequest:
    return pb.StreamAcquisitionRequest(header=header_message(header))


class Requests:
    """Converts chunks to requests; counts the rows and computes the CRC-32C of all samples so far."""

    def __init__(self) -> None:
        self._next_row = 0
        self._checksum = 0

    def of(self, chunk: Chunk) -> pb.StreamAcquisitionRequest:
        """Raises TypeError for a value that is no chunk, or an array of a type that cannot be sent."""
        if isinstance(chunk, np.ndarray):
            array = sendable(chunk)
            chunk = Rows(self._next_row, array.tobytes())
            self._next_row += array.shape[0]
        if isinstance(chunk, Rows):
            self._add(chunk.samples)
            rows = types_pb2.PixelRows(first_row=chunk.first_row, samples=chunk.samples)
            return pb.StreamAcquisitionRequest(rows=rows)
        if isinstance(chunk, Tiles):
            tiles = types_pb2.PixelTiles()
            for tile in chunk.tiles:
                self._add(tile.samples)
                tiles.tiles.add(row=tile.row, column=tile.column, samples=tile.samples)
            return pb.StreamAcquisitionRequest(tiles=tiles)
        raise TypeError(f"a source gives Rows, Tiles or arrays of rows, not {type(chunk).__name__}")

    def end(self) -> pb.StreamAcquisitionRequest:
        return pb.StreamAcquisitionRequest(end=types_pb2.AcquisitionEnd(crc32c=self._checksum))

    def _add(self, samples: bytes) -> None:
        self._checksum = _crc32c.crc32c(samples, self._checksum)
