"""tritonclient as a subject of the conformance suite: the Open Inference Protocol.

One JSON case a line in, one outcome a line out; test/slow/clients/conformance/protocol.ts says what they have. Only cases
come that the protocol can express: whole images in memory or in a file.
"""

import base64
import json
import pathlib
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import tritonclient.grpc as grpcclient
from google.rpc import error_details_pb2, status_pb2
from tritonclient.utils import InferenceServerException

# As in protocol.ts.
STREAMED_REQUESTS = 24
OUTPUTS = ["image_score", "p_value", "decision", "patch_scores", "patch_z", "coverage"]


def parameters_of(header):
    image, options = header.get("image", {}), header.get("options", {})
    window = image.get("voi", {}).get("window", {})
    values = {
        "bits_stored": image.get("bitsStored"),
        "rescale_slope": image.get("rescaleSlope"),
        "rescale_intercept": image.get("rescaleIntercept"),
        "photometric_interpretation": image.get("photometricInterpretation", "").split("_")[-1] or None,
        "window_center": window.get("center"),
        "window_width": window.get("width"),
        "window_function": window.get("function", "").replace("VOI_FUNCTION_", "") or None,
        "max_false_positive_rate": options.get("maxFalsePositiveRate"),
    }
    return {name: value for name, value in values.items() if value is not None}


def tensor_of(case):
    if "encoded" in case:
        array = np.array([pathlib.Path(case["encoded"]).read_bytes()], np.object_)
        datatype = "BYTES"
    else:
        image = case["header"]["image"]
        kind = ("i" if image.get("isSigned") else "u") + str(image["bitsAllocated"] // 8)
        samples = np.frombuffer(pathlib.Path(case["samples"]).read_bytes(), f"<{kind}")
        array = samples.reshape(1, image["rows"], image["columns"], 1)
        datatype = {"u1": "UINT8", "u2": "UINT16", "i2": "INT16"}[kind]
    tensor = grpcclient.InferInput("image", list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def outputs_of(options):
    names = list(OUTPUTS)
    if options.get("anomalyMap", "").endswith("FLOAT32"):
        names.append("anomaly_map")
    names += ["embeddings"] if options.get("embeddings") else []
    names += ["nearest_index"] if options.get("nearestPrototypes") else []
    return [grpcclient.InferRequestedOutput(name) for name in names]


def number(value):
    return None if np.isnan(value) else float(value)


def result_of(case, answer):
    response = answer.get_response()

    def grid(name):
        return base64.b64encode(answer.as_numpy(name).astype("<f4").tobytes()).decode()

    anomaly_map = answer.as_numpy("anomaly_map")
    embeddings, nearest = answer.as_numpy("embeddings"), answer.as_numpy("nearest_index")
    scored, _skipped, _failed, missing = (int(count) for count in answer.as_numpy("coverage")[0])
    warnings = json.loads(response.parameters["warnings"].string_param or "[[]]")
    return {
        "acquisitionId": response.id,
        "model": f"{response.model_name}@{response.model_version}",
        "imageScore": number(answer.as_numpy("image_score")[0, 0]),
        "pValue": number(answer.as_numpy("p_value")[0, 0]),
        "decision": answer.as_numpy("decision")[0, 0].decode(),
        "scores": grid("patch_scores"),
        "robustZ": grid("patch_z"),
        "scored": scored,
        "missing": missing,
        "warnings": [warning["kind"] for warning in warnings[0]],
        "map": "" if anomaly_map is None else base64.b64encode(anomaly_map.tobytes()).decode(),
        "embeddings": 0 if embeddings is None else int(np.isfinite(embeddings[..., 0]).sum()),
        "nearest": 0 if nearest is None else int((nearest >= 0).sum()),
    }


def error_of(error):
    """tritonclient shows the status and the message; what else was sent is in the error of grpc."""
    cause = error.__context__
    details = {"reason": "", "fields": [], "retryAfterMs": None}
    for key, value in (cause.trailing_metadata() or ()) if isinstance(cause, grpc.RpcError) else ():
        if key == "grpc-status-details-bin":
            for packed in status_pb2.Status.FromString(value).details:
                read_detail(packed, details)
    return {"error": {"status": error.status().replace("StatusCode.", ""), **details}}


def read_detail(packed, details):
    info, request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    if packed.Unpack(info):
        details["reason"] = info.reason
    elif packed.Unpack(request):
        details["fields"] = [violation.field for violation in request.field_violations]
    elif packed.Unpack(retry):
        details["retryAfterMs"] = retry.retry_delay.ToMilliseconds()


def request_of(case):
    header = case["header"]
    return {
        "model_name": header["model"]["name"],
        "inputs": [tensor_of(case)],
        "model_version": str(header["model"].get("version", "")),
        "outputs": outputs_of(header.get("options", {})),
        "parameters": parameters_of(header),
    }


def streamed(client, case):
    """Requests of one stream; reads no answer after the first until the pause is over and another request has ended."""
    answers, others = [], []

    def on_answer(result, error):
        answers.append((result, error))
        if len(answers) == 1:
            pathlib.Path(case["pause"]).read_bytes()
            other = {key: value for key, value in case.items() if key != "pause"}
            others.append(once(client, {**other, "header": case["also"]}))

    client.start_stream(on_answer)
    request = request_of(case)
    for number in range(STREAMED_REQUESTS):
        client.async_stream_infer(**request, request_id=str(number))
    # Waits for all answers.
    client.stop_stream()
    for _, error in answers:
        if error is not None:
            raise error
    results = [result_of(case, answer) for answer, _ in answers]
    events = [result.pop("acquisitionId") for result in results]
    if any(result != results[0] for result in results):
        return {"raised": "answers differ"}
    return {"retries": 0, "events": events, "result": results[0], "also": others[0].get("result")}


def once(client, case):
    headers = {}
    if "apiKey" in case:
        headers["x-api-key"] = case["apiKey"]
    if "tokens" in case:
        headers["authorization"] = f"Bearer {case['tokens'][0]}"
    if case.get("do") == "health":
        return {"health": "SERVING" if client.is_server_ready() else "NOT_SERVING"}
    if case.get("do") == "models":
        index = client.get_model_repository_index(headers=headers).models
        return {"models": [f"{model.name}@{model.version}" for model in index if "." not in model.name]}
    try:
        if "pause" in case:
            return streamed(client, case)
        answer = client.infer(
            **request_of(case),
            request_id=case["header"].get("acquisitionId", "conformance"),
            headers=headers,
            client_timeout=case.get("timeoutMs", 30_000) / 1000,
        )
        return {"retries": 0, "result": result_of(case, answer)}
    except InferenceServerException as error:
        return {"retries": 0, **error_of(error)}


def answer_of(case):
    with tempfile.NamedTemporaryFile() as authority:
        authority.write(case.get("ca", "").encode())
        authority.flush()
        tls = {"ssl": True, "root_certificates": authority.name} if "ca" in case else {}
        with grpcclient.InferenceServerClient(case["target"], **tls) as client:
            cases = [case] * case.get("parallel", 1)
            has_more = "also" in case and "pause" not in case
            cases += [{**case, "header": case["also"]}] if has_more else []
            with ThreadPoolExecutor(len(cases)) as pool:
                outcomes = list(pool.map(lambda one: once(client, one), cases))
    also = {"also": outcomes.pop().get("result")} if has_more else {}
    alike = len({json.dumps(outcome) for outcome in outcomes}) == 1
    return {"name": case["name"], **(outcomes[0] if alike else {"raised": "outcomes differ"}), **also}


for line in sys.stdin:
    print(json.dumps(answer_of(json.loads(line))), flush=True)
