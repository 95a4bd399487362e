"""Compares proto/inference with the descriptors of tritonclient and of KServe's client, field by field.

    python descriptors.py tritonclient|kserve FILE_DESCRIPTOR_SET

Prints one JSON object: what was compared, and every difference. The descriptors are read as data: a descriptor pool
cannot hold two files of one package.
"""

import importlib
import json
import pathlib
import sys

from google.protobuf import descriptor_pb2

MODULES = {
    "tritonclient": ["tritonclient.grpc.service_pb2", "tritonclient.grpc.model_config_pb2"],
    "kserve": ["kserve.protocol.grpc.grpc_predict_v2_pb2"],
}
# Messages of which only some fields are offered; every other message must be complete.
PARTIAL = {".inference.ModelConfig", ".inference.ModelInput", ".inference.ModelOutput"}
# KServe numbers the fields of the repository's messages in its own way: its client never sends them to other servers.
DIFFERENT = {"tritonclient": (), "kserve": (".inference.Repository",)}


def index(files):
    """Messages, enums and methods by their full names."""
    found = {}

    def visit(prefix, messages, enums):
        for enum in enums:
            found[f"{prefix}.{enum.name}"] = {value.name: value.number for value in enum.value}
        for message in messages:
            name = f"{prefix}.{message.name}"
            oneofs = [oneof.name for oneof in message.oneof_decl]
            found[name] = {
                field.name: [
                    field.number,
                    field.type,
                    field.label,
                    field.type_name,
                    oneofs[field.oneof_index] if field.HasField("oneof_index") else "",
                ]
                for field in message.field
            }
            visit(name, message.nested_type, message.enum_type)

    for file in files:
        visit(f".{file.package}", file.message_type, file.enum_type)
        for service in file.service:
            for method in service.method:
                found[f".{file.package}.{service.name}/{method.name}"] = {
                    "input": method.input_type,
                    "output": method.output_type,
                    "client_streaming": method.client_streaming,
                    "server_streaming": method.server_streaming,
                }
    return found


def public(client):
    files = []
    for name in MODULES[client]:
        file = descriptor_pb2.FileDescriptorProto()
        importlib.import_module(name).DESCRIPTOR.CopyToProto(file)
        files.append(file)
    return index(files)


def main(client, path):
    ours = descriptor_pb2.FileDescriptorSet()
    ours.ParseFromString(pathlib.Path(path).read_bytes())
    own = index([file for file in ours.file if file.package == "inference"])
    theirs = public(client)
    differences, compared, extra = [], 0, []
    for name, members in own.items():
        if name.startswith(DIFFERENT[client]):
            continue
        if name not in theirs:
            extra.append(name)
            continue
        for member, value in members.items():
            compared += 1
            if member not in theirs[name]:
                extra.append(f"{name}.{member}")
            elif theirs[name][member] != value:
                differences.append(f"{name}.{member}: {value}, not {theirs[name][member]}")
        missing = set(theirs[name]) - set(members)
        if missing and name not in PARTIAL:
            differences.append(f"{name} lacks {sorted(missing)}")
    print(json.dumps({"compared": compared, "extra": extra, "differences": differences}))


main(*sys.argv[1:])
