"""Converts arrays to the samples of the wire: little-endian, row by row, of a supported type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .model import Geometry
from .results import Accepted, Placement
from .source import Rows, Tile, Tiles

Array = npt.NDArray[Any]
_ALLOWED = "uint8, int8, uint16 and int16 (either byte order) are sent as they are"
#: Approximate size of a message of rows.
_MESSAGE_BYTES = 256 * 1024


def sendable(array: Array) -> Array:
    """The same values, C-contiguous and little-endian, [rows, columns].

    Raises ValueError for another shape or a masked array, TypeError for a type that the wire lacks: the bytes of
    int32, float or bool would be scored as if they were samples.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"pixels must be a numpy array, not {type(array).__name__}")
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"pixels must be [rows, columns], not of shape {array.shape}")
    if isinstance(array, np.ma.MaskedArray):
        raise ValueError("masked arrays are refused: fill the masked values, such as with array.filled(0)")
    if array.dtype.kind not in "ui" or array.dtype.itemsize > 2:
        hint = "convert explicitly, such as array.astype('uint16'), where no value is lost"
        raise TypeError(f"pixels of type {array.dtype} are refused: {_ALLOWED}; {hint}")
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def check_bits_stored(array: Array, bits_stored: int) -> None:
    """Raises ValueError where values need more bits: the server would ignore the higher ones."""
    if bits_stored in (0, 8 * array.dtype.itemsize):
        return
    is_signed = array.dtype.kind == "i"
    low = -(1 << (bits_stored - 1)) if is_signed else 0
    high = low + (1 << bits_stored) - 1
    lowest, highest = int(array.min()), int(array.max())
    if lowest < low or highest > high:
        raise ValueError(f"values from {lowest} to {highest} do not fit in bits_stored={bits_stored}")


def rows_of(array: Array) -> Iterator[Rows]:
    """Messages of whole rows."""
    array = sendable(array)
    step = max(1, _MESSAGE_BYTES // (array.shape[1] * array.dtype.itemsize))
    for first in range(0, array.shape[0], step):
        yield Rows(first, array[first : first + step].tobytes())


def display_tiles(accepted: Accepted, display: Array, tiles_per_message: int = 8) -> Iterator[Tiles]:
    """Cuts display values into the tiles of an accepted acquisition, for a header with ``bits_allocated=32``.

    ``display`` is float [placement.rows, placement.columns] in [0, 255]: the source image after the display transform,
    resampled to the placement of ``accepted``, as the contract says. Raises ValueError where it has another shape.
    """
    place, geometry = accepted.placement, accepted.geometry
    if display.shape != (place.rows, place.columns):
        raise ValueError(f"display values must be [{place.rows}, {place.columns}], not of shape {display.shape}")
    working = _placed(display, place, geometry)
    height, width = geometry.core_rows, geometry.core_columns
    tiles: list[Tile] = []
    for row in range(geometry.tile_rows):
        for column in range(geometry.tile_columns):
            core = working[row * height : (row + 1) * height, column * width : (column + 1) * width]
            tiles.append(Tile(row, column, core.tobytes()))
            if len(tiles) == tiles_per_message:
                yield Tiles(tuple(tiles))
                tiles = []
    if tiles:
        yield Tiles(tuple(tiles))


def _placed(display: Array, place: Placement, geometry: Geometry) -> Array:
    """The working image; tiles may reach beyond it."""
    rows = geometry.tile_rows * geometry.core_rows
    columns = geometry.tile_columns * geometry.core_columns
    working = np.zeros((rows, columns), "<f4")
    working[place.top : place.top + place.rows, place.left : place.left + place.columns] = display
    return working
