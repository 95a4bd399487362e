"""Decodes DICOM files with pydicom: reads one path per line, answers one JSON line per file."""

import hashlib
import json
import sys
import time
import warnings

import numpy as np
import pydicom
from pydicom.pixels import pixel_array

# One of the files has no preamble, which pydicom reports.
warnings.simplefilter("ignore")
print(json.dumps({"version": pydicom.__version__}), flush=True)
for line in sys.stdin:
    started = time.perf_counter()
    try:
        cells = pixel_array(pydicom.dcmread(line.rstrip("\n"), force=True), raw=True)
        elapsed = time.perf_counter() - started
        digest = hashlib.sha256(np.ascontiguousarray(cells).tobytes()).hexdigest()
        answer = {"milliseconds": 1000 * elapsed, "sha256": digest}
    except Exception as error:  # The peer's answer to a file that it cannot decode.
        answer = {"error": f"{type(error).__name__}: {error}".split("\n")[0][:120]}
    print(json.dumps(answer), flush=True)
