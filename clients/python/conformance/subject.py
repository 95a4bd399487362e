"""The Python clients as subjects of the conformance suite: python subject.py sync|aio

One JSON case a line in, one outcome a line out; test/slow/clients/conformance/protocol.ts says what they have.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Optional

import numpy as np

import salad_client as salad
from salad_client._image import Collector

Case = dict[str, Any]


class SourceFailed(Exception):
    pass


def enum_of(kind: Any, name: Optional[str], prefix: str) -> Any:
    return kind.UNSPECIFIED if name is None else kind[name.replace(prefix, "")]


def voi_of(voi: Optional[Case]) -> Optional[salad.Voi]:
    if voi is None:
        return None
    if "window" in voi:
        window = voi["window"]
        function = enum_of(salad.VoiFunction, window["function"], "VOI_FUNCTION_")
        return salad.Window(window["center"], window["width"], function)
    if "lut" in voi:
        return salad.Lut(voi["lut"]["firstValue"], voi["lut"]["bitsPerEntry"], voi["lut"]["entries"])
    return salad.Auto(voi["auto"].get("lowPercentile"), voi["auto"].get("highPercentile"))


def header_of(case: Case) -> salad.Header:
    header, image, options = case["header"], case["header"].get("image", {}), case["header"].get("options", {})
    photometric = enum_of(
        salad.PhotometricInterpretation, image.get("photometricInterpretation"), "PHOTOMETRIC_INTERPRETATION_"
    )
    return salad.Header(
        header["model"]["name"],
        salad.ImageFormat(
            rows=image.get("rows", 0),
            columns=image.get("columns", 0),
            bits_allocated=image.get("bitsAllocated", 0),
            bits_stored=image.get("bitsStored", 0),
            is_signed=image.get("isSigned", False),
            photometric_interpretation=photometric,
            rescale_slope=image.get("rescaleSlope"),
            rescale_intercept=image.get("rescaleIntercept"),
            voi=voi_of(image.get("voi")),
        ),
        version=header["model"].get("version"),
        source=salad.Source[header.get("source", "SOURCE_ROWS").replace("SOURCE_", "")],
        options=salad.ScoringOptions(
            patch_scores=options.get("patchScores"),
            anomaly_map=enum_of(salad.AnomalyMapFormat, options.get("anomalyMap"), "ANOMALY_MAP_FORMAT_"),
            embeddings=options.get("embeddings", False),
            nearest_prototypes=options.get("nearestPrototypes", 0),
            max_false_positive_rate=options.get("maxFalsePositiveRate"),
            early_end=enum_of(salad.EarlyEnd, options.get("earlyEnd"), "EARLY_END_"),
            top_patches=options.get("topPatches"),
        ),
        acquisition_id=header.get("acquisitionId", "conformance"),
    )


def chunk_of(samples: bytes, chunk: Case) -> salad.Chunk:
    def cut(part: Case) -> bytes:
        return samples[part["offset"] : part["offset"] + part["length"]]

    if "tiles" in chunk:
        return salad.Tiles(tuple(salad.Tile(tile["row"], tile["column"], cut(tile)) for tile in chunk["tiles"]))
    return salad.Rows(chunk["firstRow"], cut(chunk))


def source_of(case: Case, over: threading.Event) -> Any:
    """A source for the synchronous client; ``over`` releases one that holds."""
    samples = Path(case["samples"]).read_bytes()
    if case.get("display"):
        return lambda accepted: salad.display_tiles(accepted, display_of(samples, accepted))
    if "chunks" not in case:
        image = case["header"]["image"]
        kind = ("<i" if image.get("isSigned") else "<u") + str(image["bitsAllocated"] // 8)
        return np.frombuffer(samples, kind).reshape(-1, image["columns"])
    chunks = [chunk_of(samples, chunk) for chunk in case["chunks"]]
    if not {"failAfter", "holdAfter", "once"} & set(case):
        return chunks

    def generate() -> Iterator[salad.Chunk]:
        for index in range(len(chunks) + 1):
            if index == case.get("failAfter"):
                raise SourceFailed("the source failed")
            if index == case.get("holdAfter"):
                over.wait(60)
            if index < len(chunks):
                yield chunks[index]

    return generate() if case.get("once") else lambda accepted: generate()


def display_of(samples: bytes, accepted: salad.Accepted) -> Any:
    return np.frombuffer(samples, "<f4").reshape(accepted.placement.rows, accepted.placement.columns)


def async_source_of(case: Case) -> Any:
    """For the asyncio client: sources that fail, hold or are read once are async generators."""
    if not {"failAfter", "holdAfter", "once"} & set(case):
        return source_of(case, threading.Event())
    samples = Path(case["samples"]).read_bytes()
    chunks = [chunk_of(samples, chunk) for chunk in case["chunks"]]

    async def generate() -> AsyncIterator[salad.Chunk]:
        for index in range(len(chunks) + 1):
            if index == case.get("failAfter"):
                raise SourceFailed("the source failed")
            if index == case.get("holdAfter"):
                await asyncio.sleep(60)
            if index < len(chunks):
                yield chunks[index]

    return generate() if case.get("once") else lambda accepted: generate()


def result_of(result: salad.Result) -> Case:
    def grid(values: Any) -> str:
        return base64.b64encode(values.astype("<f4").tobytes()).decode()

    embeddings = 0 if result.embeddings is None else int(np.isfinite(result.embeddings[:, :, 0]).sum())
    return {
        "acquisitionId": result.acquisition_id,
        "model": f"{result.model.name}@{result.model.version}",
        "imageScore": number(result.image_score),
        "pValue": number(result.p_value),
        "decision": result.decision.name,
        "scores": grid(result.patch_scores),
        "robustZ": grid(result.robust_z),
        "scored": result.coverage.scored,
        "missing": result.coverage.missing,
        "topPatches": len(result.top_patches),
        "warnings": [warning.kind.name for warning in result.warnings],
        "map": "" if result.anomaly_map is None else base64.b64encode(result.anomaly_map.data).decode(),
        "embeddings": embeddings,
        "nearest": sum(len(near) for near in result.nearest_prototypes.values()),
    }


def number(value: float) -> Optional[float]:
    """None for NaN, which JSON has not."""
    return None if np.isnan(value) else value


def error_of(error: Exception) -> Case:
    if not isinstance(error, salad.SaladError):
        return {"raised": str(error)}
    delay = None if error.retry_after is None else error.retry_after * 1000
    fields = [violation.field for violation in error.violations]
    return {
        "error": {"status": error.status, "reason": error.reason or "", "fields": fields, "retryAfterMs": delay}
    }


def settings_of(case: Case) -> Case:
    tokens = list(case.get("tokens", []))
    settings: Case = {"timeout": case.get("timeoutMs", 30_000) / 1000}
    if "ca" in case:
        settings["tls"] = salad.Tls(ca=case["ca"].encode())
    if "apiKey" in case:
        settings["api_key"] = case["apiKey"]
    if "maxReceiveBytes" in case:
        settings["max_receive_bytes"] = case["maxReceiveBytes"]
    if tokens:
        settings["token"] = lambda: tokens.pop(0) if len(tokens) > 1 else tokens[0]
    if not case.get("retry", True):
        settings["retry"] = None
    return settings


def models_of(models: tuple[salad.Model, ...]) -> Case:
    return {"models": [f"{model.identity.name}@{model.identity.version}" for model in models]}


def sync_once(client: salad.SaladClient, case: Case) -> Case:
    retries, over = [0], threading.Event()

    def on_retry(notice: salad.RetryNotice) -> None:
        retries[0] += 1

    try:
        if case.get("do") == "health":
            return {"health": client.health() or ""}
        if case.get("do") == "models":
            return models_of(client.models())
        if "pause" in case:
            return sync_paused(client, case)
        if "encoded" in case:
            result = client.score(case["encoded"], case["header"]["model"]["name"], on_retry=on_retry, acquisition_id="conformance")
        elif "leave" in case:
            return sync_left(case, client.stream(header_of(case), source_of(case, over)))
        else:
            result = client.score_acquisition(header_of(case), source_of(case, over), on_retry=on_retry)
        return {"retries": retries[0], "result": result_of(result)}
    except Exception as error:
        return {"retries": retries[0], **error_of(error)}
    finally:
        over.set()


def sync_paused(client: salad.SaladClient, case: Case) -> Case:
    """Reads no event after the first until the pause is over and another acquisition of the client has ended."""
    events: list[salad.Event] = []
    others: list[Case] = []

    def on_event(event: salad.Event) -> None:
        events.append(event)
        if len(events) == 1:
            Path(case["pause"]).read_bytes()
            others.append(sync_once(client, other_of(case)))

    source = source_of(case, threading.Event())
    return paused(events, client.score_acquisition(header_of(case), source, on_event=on_event), others[0])


def other_of(case: Case) -> Case:
    """The acquisition more that is scored during a pause."""
    return {key: value for key, value in case.items() if key != "pause"} | {"header": case["also"]}


def paused(events: list[salad.Event], result: salad.Result, other: Case) -> Case:
    kinds = [type(event).__name__.lower() for event in events]
    return {
        "events": [kind for index, kind in enumerate(kinds) if index == 0 or kind != kinds[index - 1]],
        "patches": sum(len(event.patches) for event in events if isinstance(event, salad.Patches)),
        "result": result_of(result),
        "also": other.get("result"),
    }


def sync_left(case: Case, events: Any) -> Case:
    if case["leave"] == "before":
        events.close()
        return {"left": True}
    for event in events:
        if case["leave"] == "first" or isinstance(event, salad.Aggregate):
            return {"left": True}
    return {"raised": "no aggregate"}


async def aio_once(client: salad.AsyncSaladClient, case: Case) -> Case:
    retries = [0]

    def on_retry(notice: salad.RetryNotice) -> None:
        retries[0] += 1

    try:
        if case.get("do") == "health":
            return {"health": await client.health() or ""}
        if case.get("do") == "models":
            return models_of(await client.models())
        if "pause" in case:
            return await aio_paused(client, case)
        if "encoded" in case:
            model = case["header"]["model"]["name"]
            result = await client.score(case["encoded"], model, on_retry=on_retry, acquisition_id="conformance")
        elif case.get("leave") in ("first", "last"):
            return await aio_left(case, client.stream(header_of(case), async_source_of(case)))
        else:
            scoring = client.score_acquisition(header_of(case), async_source_of(case), on_retry=on_retry)
            result = await (begun_and_cancelled(scoring) if "leave" in case else scoring)
        return {"retries": retries[0], "result": result_of(result)}
    except asyncio.CancelledError:
        return {"retries": retries[0], "left": True}
    except Exception as error:
        return {"retries": retries[0], **error_of(error)}


async def begun_and_cancelled(scoring: Coroutine[Any, Any, salad.Result]) -> salad.Result:
    """Cancels it where it waits for the first time: its call is open, and its header is not sent."""
    task = asyncio.ensure_future(scoring)
    await asyncio.sleep(0)
    task.cancel()
    return await task


async def aio_paused(client: salad.AsyncSaladClient, case: Case) -> Case:
    """As ``sync_paused``. A listener of ``score_acquisition`` cannot wait without the event loop: it reads a stream."""
    events: list[salad.Event] = []
    collector = Collector(None)
    other: Case = {}
    async for event in client.stream(header_of(case), async_source_of(case)):
        events.append(event)
        collector.take(event)
        if len(events) == 1:
            await asyncio.get_running_loop().run_in_executor(None, Path(case["pause"]).read_bytes)
            other = await aio_once(client, other_of(case))
    result = collector.result()
    return {"raised": "no aggregate"} if result is None else paused(events, result, other)


async def aio_left(case: Case, events: Any) -> Case:
    try:
        async for event in events:
            if case["leave"] == "first" or isinstance(event, salad.Aggregate):
                return {"left": True}
        return {"raised": "no aggregate"}
    finally:
        await events.aclose()


def together(case: Case) -> list[Case]:
    """The acquisitions of a case at the same time; the one more comes last."""
    return [case] * case.get("parallel", 1) + ([{**case, "header": case["also"]}] if has_more(case) else [])


def has_more(case: Case) -> bool:
    return "also" in case and "pause" not in case


def sync_case(case: Case) -> list[Case]:
    cases = together(case)
    with salad.SaladClient(case["target"], **settings_of(case)) as client, ThreadPoolExecutor(len(cases)) as pool:
        return list(pool.map(lambda one: sync_once(client, one), cases))


async def aio_case(case: Case) -> list[Case]:
    async with salad.AsyncSaladClient(case["target"], **settings_of(case)) as client:
        return list(await asyncio.gather(*(aio_once(client, one) for one in together(case))))


def answer(case: Case, outcomes: list[Case]) -> None:
    also = {"also": outcomes.pop().get("result")} if has_more(case) else {}
    alike = len({json.dumps(outcome) for outcome in outcomes}) == 1
    outcome = outcomes[0] if alike else {"raised": "outcomes differ"}
    print(json.dumps({"name": case["name"], **outcome, **also}), flush=True)


async def main_aio() -> None:
    """All cases in one event loop, as a service has it."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        case = json.loads(line)
        answer(case, await aio_case(case))


def main(kind: str) -> None:
    if kind == "aio":
        asyncio.run(main_aio())
        return
    for line in sys.stdin:
        case = json.loads(line)
        answer(case, sync_case(case))


if __name__ == "__main__":
    main(sys.argv[1])
