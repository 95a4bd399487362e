"""The enumerations of the contract, with the numbers of the wire.

An unknown value, sent by a newer server, is read as ``UNRECOGNIZED``.
"""

from __future__ import annotations

from enum import IntEnum


class _Open(IntEnum):
    @classmethod
    def _missing_(cls, value: object) -> _Open:
        return cls["UNRECOGNIZED"]


class Source(_Open):
    """How the client delivers pixels."""

    UNRECOGNIZED = -1
    #: Detector rows in order, at source resolution.
    ROWS = 1
    #: Tiles of the working image, in any order; see ``display_tiles``.
    TILES = 2


class PhotometricInterpretation(_Open):
    """Meaning of the stored values' direction (DICOM PS3.3 C.7.6.3.1.2)."""

    UNRECOGNIZED = -1
    UNSPECIFIED = 0
    #: The minimum value is shown white.
    MONOCHROME1 = 1
    #: The minimum value is shown black.
    MONOCHROME2 = 2


class VoiFunction(_Open):
    """Shape of a VOI window (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3)."""

    UNRECOGNIZED = -1
    UNSPECIFIED = 0
    LINEAR = 1
    LINEAR_EXACT = 2
    SIGMOID = 3


class Priority(_Open):
    """Which tiles are scored first when the workers are busy."""

    UNRECOGNIZED = -1
    UNSPECIFIED = 0
    STAT = 1
    ROUTINE = 2
    BACKGROUND = 3


class EarlyEnd(_Open):
    """What happens when the stream ends before all pixels were sent."""

    UNRECOGNIZED = -1
    UNSPECIFIED = 0
    FAIL = 1
    PARTIAL = 2


class AnomalyMapFormat(_Open):
    """Which anomaly map comes with the aggregate."""

    UNRECOGNIZED = -1
    UNSPECIFIED = 0
    NONE = 1
    #: A colour PNG in the geometry of the source: the image in grey, the map over it, a line around what is above the
    #: threshold.
    PNG_OVERLAY = 2
    #: Robust z in the geometry of the source; NaN where nothing that counts was scored.
    FLOAT32 = 3


class Decision(_Open):
    """The decision by the calibrated threshold. Only ``NORMAL`` may be read as normal."""

    UNRECOGNIZED = -1
    UNSPECIFIED = 0
    NORMAL = 1
    ANOMALOUS = 2
    #: Patches are missing or failed, or nothing could be scored: not to be read as normal.
    INDETERMINATE = 3


class WarningKind(_Open):
    """Kind of a warning of an acquisition that was scored."""

    UNRECOGNIZED = -1
    UNSPECIFIED = 0
    AUTO_WINDOW = 1
    PARTIAL = 2
    TILES_FAILED = 3
    ENGINE_FAILOVER = 4
    SCORE_DRIFT = 5
    NOTHING_SCORED = 6
    INVERTED = 7
