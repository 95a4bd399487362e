"""Sources of the pixels of an acquisition."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass
from typing import Any, Callable, Union

import numpy as np
import numpy.typing as npt

from .results import Accepted


@dataclass(frozen=True)
class Rows:
    """Whole rows from ``first_row`` on; 16-bit samples are little-endian."""

    first_row: int
    samples: bytes


@dataclass(frozen=True)
class Tile:
    """The samples of one tile's core, row by row, in the header's pixel format."""

    row: int
    column: int
    samples: bytes


@dataclass(frozen=True)
class Tiles:
    """One or more tiles, each sent once in the acquisition."""

    tiles: tuple[Tile, ...]


#: Rows, tiles, or an array [k, columns] of the next k rows.
Chunk = Union[Rows, Tiles, npt.NDArray[Any]]

#: The pixels of one acquisition:
#:
#: - an array [rows, columns], or a list or tuple of chunks: sent from its start, as often as needed;
#: - a function: called with ``Accepted``, and again for every further attempt; it must then return the same pixels
#:   from the start;
#: - any other iterable, such as a generator that reads a detector: read once, so never retried.
PixelSource = Union[
    npt.NDArray[Any],
    Iterable[Chunk],
    Callable[[Accepted], Iterable[Chunk]],
]
#: As ``PixelSource``; functions may return an async iterable, and the iterable may be one.
AsyncPixelSource = Union[
    PixelSource,
    AsyncIterable[Chunk],
    Callable[[Accepted], Union[Iterable[Chunk], AsyncIterable[Chunk]]],
]


def is_replayable(source: AsyncPixelSource) -> bool:
    """Whether a source can be read again for a further attempt."""
    return isinstance(source, (np.ndarray, list, tuple)) or callable(source)
