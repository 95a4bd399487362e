"""The Python of the documentation runs as it stands, with the shipped models."""

from __future__ import annotations

import re
import runpy
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Server, Servers
from PIL import Image
from test_dicom import dataset, saved

EXAMPLES = ROOT / "clients/python/examples"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def shipped(servers: Servers) -> Iterator[Server]:
    server = servers.start(models=str(ROOT / "models"))
    yield server
    server.stop()


@pytest.fixture
def folder(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files that the documentation names lie."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(chest().astype(np.uint8)).save("chest.png")
    Path("study.dcm").write_bytes(saved(dataset((chest() * 16).astype(np.uint16), WindowCenter="2048", WindowWidth="4096")))
    Path("ca.pem").write_bytes(b"-")
    return tmp_path


def chest() -> Any:
    return np.clip(np.random.default_rng(1).normal(120, 30, (256, 256)), 0, 255)


def blocks(file: str) -> list[str]:
    found = BLOCK.findall((ROOT / file).read_text("utf-8"))
    assert found
    return found


def names() -> dict[str, Any]:
    """What the documentation leaves to its reader."""

    def detector() -> Iterator[Any]:
        for _ in range(0, 1024, 64):
            yield np.random.default_rng(7).integers(0, 4096, (64, 1024), np.uint16)

    told: list[Any] = []
    return {
        "samples": (chest() * 16).astype(np.uint16),
        "detector": detector,
        "told": told,
        **{name: told.append for name in ("highlight", "report", "show", "forget")},
    }


def test_the_readme_runs(shipped: Server, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = names()
    for block in blocks("clients/python/README.md"):
        # Blocks follow one another, as a reader would take them.
        exec(compile(block.replace("localhost:50051", shipped.address), "README.md", "exec"), given)  # noqa: S102
    printed = capsys.readouterr().out
    assert "NOT_FOUND MODEL_NOT_FOUND" in printed and "(16, 16)" in printed
    # Events of two acquisitions: highlight, report, show.
    assert len(given["told"]) > 4


def test_the_examples_run(shipped: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["score_files.py", shipped.address, "phantom", "chest.png", "study.dcm"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLES / "score_files.py"), run_name="__main__")
    assert ended.value.code == 0
    assert re.findall(r"^(\S+): [a-z]+, p = 0\.\d+$", capsys.readouterr().out, re.MULTILINE) == ["chest.png", "study.dcm"]
    monkeypatch.setattr(sys, "argv", ["stream_detector.py", shipped.address, "phantom"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLES / "stream_detector.py"), run_name="__main__")
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("accepted by phantom") and lines[-1].endswith("patches scored")
    assert sum("patch scores" in line for line in lines) > 2


@pytest.mark.parametrize(
    ("program", "arguments", "code", "said"),
    [
        ("score_files.py", ["nobody", "chest.png"], 1, r"chest\.png: model nobody is not loaded; loaded: .*\n"),
        ("score_files.py", ["phantom", "missing.png"], 1, r"missing\.png: No such file or directory\n"),
        ("score_files.py", [], 2, r"usage: score_files\.py HOST:PORT MODEL FILE \.\.\.\n"),
        ("stream_detector.py", ["nobody"], 1, r"the call failed: model nobody is not loaded; loaded: .*\n"),
        ("stream_detector.py", [], 2, r"usage: stream_detector\.py HOST:PORT MODEL\n"),
    ],
)
def test_the_examples_say_what_failed_in_a_line(
    shipped: Server,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    program: str,
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.setattr(sys, "argv", [program, shipped.address, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLES / program), run_name="__main__")
    assert ended.value.code == code
    assert re.fullmatch(said, capsys.readouterr().err)


def test_the_notebook_shows_the_map(shipped: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="only among the newest packages")
    from nbclient import NotebookClient

    monkeypatch.setenv("SALAD_TARGET", shipped.address)
    monkeypatch.setenv("SALAD_IMAGE", "chest.png")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    shutil.copy(EXAMPLES / "anomaly_map.ipynb", folder)
    notebook = nbformat.read("anomaly_map.ipynb", as_version=4)
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("phantom 1" in output.get("text", "") for output in outputs)
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 1 and len(pictures[0]) > 20_000
