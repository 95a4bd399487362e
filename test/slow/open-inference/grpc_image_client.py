"""Scores an image with the stubs inside tritonclient alone, as grpc_image_client.py of Triton's examples does.

    python grpc_image_client.py HOST:PORT MODEL FILE sync|async|stream
"""

import json
import struct
import sys

import grpc
import numpy as np
from PIL import Image
from tritonclient.grpc import service_pb2, service_pb2_grpc


def request_of(stub, model, path):
    metadata = stub.ModelMetadata(service_pb2.ModelMetadataRequest(name=model))
    config = stub.ModelConfig(service_pb2.ModelConfigRequest(name=model)).config
    height, width, _channels = config.input[0].dims
    picture = np.array(Image.open(path).convert("L").resize((width, height), Image.BILINEAR), np.uint8)
    request = service_pb2.ModelInferRequest(model_name=model, id="1")
    inp = request.inputs.add(name=metadata.inputs[0].name, datatype="UINT8")
    inp.shape.extend([1, height, width, 1])
    output = request.outputs.add(name=metadata.outputs[0].name)
    output.parameters["classification"].int64_param = 2
    request.raw_input_contents.append(picture.tobytes())
    return request


def labels(response):
    """Elements of BYTES, read by hand."""
    data, found, at = response.raw_output_contents[0], [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        found.append(data[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return found


def main(target, model, path, mode):
    with grpc.insecure_channel(target) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = request_of(stub, model, path)
        if mode == "sync":
            responses = [stub.ModelInfer(request)]
        elif mode == "async":
            responses = [call.result() for call in [stub.ModelInfer.future(request) for _ in range(3)]]
        else:
            answers = list(stub.ModelStreamInfer(iter([request, request])))
            assert not any(answer.error_message for answer in answers), answers
            responses = [answer.infer_response for answer in answers]
        print(json.dumps([labels(response) for response in responses]))


main(*sys.argv[1:])
