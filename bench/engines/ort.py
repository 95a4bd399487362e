"""Measures Python's onnxruntime: `ort.py THREADS`, one JSON request per line on stdin.

Request: {"onnx": FILE, "batchSize": n, "patchesPerTile": p, "seconds": s, "layout": "sessions" | "threads"}.
Layout "sessions" runs one session with one thread per core, like salad-serve; layout "threads" runs one session with
all threads, the default of onnxruntime. Answer: {"tiles": n, "ms": ms}.
"""

import json
import sys
import threading
import time

import numpy as np
import onnxruntime

THREADS = int(sys.argv[1])
sessions = {}


def open_sessions(file, layout):
    if (file, layout) not in sessions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1 if layout == "sessions" else THREADS
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        count = THREADS if layout == "sessions" else 1
        sessions[file, layout] = [
            onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"]) for _ in range(count)
        ]
    return sessions[file, layout]


def feeds_of(session, tiles, patches_per_tile):
    shape = session.get_inputs()[0].shape
    random = np.random.default_rng(tiles)
    feeds = {"tiles": random.integers(0, 256, (tiles, *shape[1:]), dtype=np.uint8)}
    if len(session.get_inputs()) > 1:
        feeds["cells"] = np.zeros(tiles * patches_per_tile, np.int64)
    return feeds


def measure(request):
    opened = open_sessions(request["onnx"], request["layout"])
    feeds = feeds_of(opened[0], request["batchSize"], request["patchesPerTile"])
    for session in opened:
        session.run(None, feeds)
    done = [0] * len(opened)
    start = threading.Barrier(len(opened))

    def loop(index):
        start.wait()
        end = time.perf_counter() + request["seconds"]
        while time.perf_counter() < end:
            opened[index].run(None, feeds)
            done[index] += request["batchSize"]

    threads = [threading.Thread(target=loop, args=(index,)) for index in range(len(opened))]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"tiles": sum(done), "ms": 1000 * (time.perf_counter() - started)}


print(json.dumps({"version": onnxruntime.__version__}), flush=True)
for line in sys.stdin:
    print(json.dumps(measure(json.loads(line))), flush=True)
