"""Real servers, run by test/support/servers/server-program.ts of the checkout."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import pytest

from salad_client import Header, ImageFormat, SaladClient

ROOT = Path(__file__).resolve().parents[3]
SIDE = 64
#: Patches of the models.
CELLS = 64


class Servers:
    """Starts, stops and watches servers with small models: small, stretched, padded."""

    def __init__(self) -> None:
        command = ["node", "--import", "tsx", "test/support/servers/server-program.ts"]
        self._program = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lock = threading.Lock()

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        assert self._program.stdin is not None and self._program.stdout is not None
        with self._lock:
            self._program.stdin.write(json.dumps({"do": do, **fields}) + "\n")
            self._program.stdin.flush()
            line = self._program.stdout.readline()
        assert line, "the server program ended; its own words are above"
        answer: dict[str, Any] = json.loads(line)
        assert "error" not in answer, answer
        return answer

    def start(self, *, tls: bool = False, api_keys: bool = False, tokens: bool = False, **flags: Any) -> Server:
        answer = self.ask("start", flags=flags, tls=tls, apiKeys=api_keys, tokens=tokens)
        return Server(self, answer["server"], answer["address"], answer)

    def close(self) -> None:
        self._program.communicate(timeout=60)


@dataclass
class Server:
    program: Servers
    number: int
    address: str
    answer: dict[str, Any]

    def open(self) -> int:
        """Acquisitions that the server holds something for."""
        return int(self.program.ask("budget", server=self.number)["open"])

    def until_open(self, count: int) -> None:
        give_up = time.monotonic() + 10
        while self.open() != count:
            assert time.monotonic() < give_up, f"the server holds {self.open()} acquisitions, not {count}"
            time.sleep(0.005)

    def stop(self, grace_ms: int = 0) -> None:
        self.program.ask("stop", server=self.number, graceMs=grace_ms)

    def proxy(self) -> Proxy:
        answer = self.program.ask("proxy", server=self.number)
        return Proxy(self.program, answer["proxy"], answer["address"])


@dataclass
class Proxy:
    program: Servers
    number: int
    address: str

    def opened(self) -> int:
        return int(self.program.ask("proxyState", proxy=self.number)["opened"])

    def bytes(self) -> int:
        return int(self.program.ask("proxyState", proxy=self.number)["bytes"])

    def reset(self, after_bytes: int = 0) -> None:
        self.program.ask("reset", proxy=self.number, afterBytes=after_bytes)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    program = Servers()
    yield program
    program.close()


@pytest.fixture(scope="session")
def server(servers: Servers) -> Server:
    return servers.start(idleTimeoutMs=20_000)


@pytest.fixture
def client(server: Server) -> Iterator[SaladClient]:
    with SaladClient(server.address) as client:
        yield client
    # Whatever a test did, the server holds nothing for it afterwards.
    server.until_open(0)


def picture(seed: int, rows: int = SIDE, columns: int = SIDE) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (rows, columns), np.uint8)


def header(acquisition_id: Optional[str] = None, **image: Any) -> Header:
    form = ImageFormat(**{"rows": SIDE, "columns": SIDE, "bits_allocated": 8, **image})
    return Header("small", form, acquisition_id=acquisition_id or "test")


def bands(image: npt.NDArray[Any], rows: int = 8) -> list[npt.NDArray[Any]]:
    return [image[first : first + rows] for first in range(0, len(image), rows)]
