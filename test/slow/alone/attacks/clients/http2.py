"""gRPC calls over the package h2, which lets the caller control every frame."""
import select
import socket
import struct
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hpack

STREAM = "/salad.v1.AnomalyScoring/StreamAcquisition"
IMAGE = "/salad.v1.AnomalyScoring/ScoreImage"
HEALTH = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
LIST = "/salad.v1.ModelRegistry/List"
GET = "/salad.v1.ModelRegistry/Get"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


def dial(address: str, source: str, timeout: float = 5) -> socket.socket:
    host, port = address.rsplit(":", 1)
    sock = socket.create_connection((host, int(port)), timeout, source_address=(source, 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Connection:
    """One HTTP/2 connection. `statuses` holds the gRPC status of each stream that got one."""

    def __init__(self, address: str, source: str, window: int | None = None):
        self.sock = dial(address, source)
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, validate_outbound_headers=False)
        )
        if window is not None:
            first = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
            self.h2.local_settings = h2.settings.Settings(client=True, initial_values=first)
        self.h2.initiate_connection()
        self.statuses: dict[int, int] = {}
        self.messages: dict[int, str] = {}
        self.answered: dict[int, int] = {}
        self.resets: dict[int, int] = {}
        self.closed = False
        self.flush()
        # The server's SETTINGS contain its window, which limits what may be sent.
        self.pump(0.2)

    @property
    def open_streams(self) -> int:
        return self.h2.open_outbound_streams

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data and not self.closed:
            try:
                self.sock.sendall(data)
            except OSError:
                self.closed = True

    def pump(self, seconds: float = 0) -> None:
        """Reads all received data; waits for up to `seconds` where there is none."""
        while not self.closed and select.select([self.sock], [], [], seconds)[0]:
            seconds = 0
            try:
                data = self.sock.recv(1 << 20)
                events = self.h2.receive_data(data) if data else []
            except (OSError, h2.exceptions.ProtocolError):
                data, events = b"", []
            if not data:
                self.closed = True
            for event in events:
                self._handle(event)
            self.flush()

    def _handle(self, event) -> None:
        if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
            for name, value in event.headers:
                if name == b"grpc-status":
                    self.statuses[event.stream_id] = int(value)
                if name == b"grpc-message":
                    self.messages[event.stream_id] = value.decode()
        elif isinstance(event, h2.events.DataReceived):
            self.answered[event.stream_id] = self.answered.get(event.stream_id, 0) + len(event.data)
            if event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.resets[event.stream_id] = event.error_code
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.closed = True

    def open(self, path: str, encoding: str = "identity", **more: str) -> int:
        if self.closed:
            raise ConnectionError("the connection is closed")
        stream = self.h2.get_next_available_stream_id()
        headers = [
            *headers_of(path),
            ("grpc-encoding", encoding),
            *((name.replace("_", "-"), value) for name, value in more.items()),
        ]
        self.h2.send_headers(stream, headers)
        self.flush()
        return stream

    def is_over(self, stream: int) -> bool:
        return self.closed or stream in self.statuses or stream in self.resets

    def send(self, stream: int, data: bytes, end: bool = False, deadline: float | None = None) -> bool:
        """Sends as the windows allow. False where the stream or connection closes, or the deadline passes before."""
        view = memoryview(data)
        try:
            while True:
                self.pump()
                if self.is_over(stream) or (deadline is not None and time.monotonic() > deadline):
                    return False
                room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
                if room <= 0 and len(view) > 0:
                    self.pump(0.05)
                    continue
                section, view = view[:room], view[room:]
                self.h2.send_data(stream, section.tobytes(), end_stream=end and len(view) == 0)
                self.flush()
                if len(view) == 0:
                    return True
        except h2.exceptions.ProtocolError:
            return False

    def reset(self, stream: int) -> None:
        try:
            self.h2.reset_stream(stream)
        except h2.exceptions.ProtocolError:
            # Both sides have closed it.
            pass
        self.flush()

    def wait(self, streams, seconds: float) -> None:
        """Waits until all streams are over, for at most `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not all(self.is_over(stream) for stream in streams):
            self.pump(0.05)

    def close(self) -> None:
        self.closed = True
        self.sock.close()


def counted(values) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[str(value)] = counts.get(str(value), 0) + 1
    return counts


def outcome(connections) -> dict:
    """The server's answers on all connections, counted."""
    return {
        "statuses": counted(status for each in connections for status in each.statuses.values()),
        "resets": counted(int(code) for each in connections for code in each.resets.values()),
        "closedConnections": sum(each.closed for each in connections),
    }


def is_closed(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        while data := sock.recv(65_536):
            pass
        return data == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def request(encoder: hpack.Encoder, stream: int, path: str) -> bytes:
    """A HEADERS frame that begins a call."""
    return frame(1, 4, stream, encoder.encode(headers_of(path)))


def headers_of(path: str) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "salad"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">IBBI", len(payload) << 8 | kind, flags, 0, 0)[:5] + struct.pack(">I", stream) + payload
