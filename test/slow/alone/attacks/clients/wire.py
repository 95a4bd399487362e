"""Protobuf and gRPC framing without generated code, for messages that such code cannot create."""
import gzip
import struct


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, value: bytes) -> bytes:
    """A length-delimited field: bytes, text, a message or packed numbers."""
    return varint(field << 3 | 2) + varint(len(value)) + value


def frame(message: bytes, compressed: bool = False, announced: int | None = None) -> bytes:
    """A gRPC length-prefixed message; `announced` is the length in the prefix, which may be wrong."""
    return struct.pack(">BI", compressed, len(message) if announced is None else announced) + message


def zipped(message: bytes) -> bytes:
    """A frame whose message is compressed with gzip."""
    return frame(gzip.compress(message, 6), compressed=True)


# Fields of salad.v1, by their numbers in the proto files.
ROWS, TILES = 1, 2
ROUTINE, STAT = 2, 1


def header(model="phantom", rows=512, columns=512, bits=8, source=ROWS, priority=ROUTINE, voi=b"", options=b""):
    """An AcquisitionHeader."""
    image = number(1, rows) + number(2, columns) + number(3, bits)
    if voi:
        image += block(9, voi)
    message = block(1, b"attack") + block(2, block(1, model.encode())) + block(3, image)
    message += number(4, source) + number(5, priority)
    return message + block(6, options) if options else message


def lut(entries: bytes) -> bytes:
    """A VoiTransform with a look-up table, its entries packed varints of one byte each."""
    return block(2, number(2, 8) + block(3, entries))


def stream_header(**fields) -> bytes:
    """The first message of StreamAcquisition."""
    return block(1, header(**fields))


def rows_message(first_row: int, samples: bytes) -> bytes:
    """A message of StreamAcquisition with whole rows."""
    return block(2, (number(1, first_row) if first_row else b"") + block(2, samples))
