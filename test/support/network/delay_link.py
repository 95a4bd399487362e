"""A wire between two network namespaces with a delay and a rate, for kernels without netem.

usage: delay_link.py DEVICE_A DEVICE_B ONE_WAY_DELAY_MS RATE_MBIT

Creates two TUN devices, prints "ready" once they exist (the caller moves them into namespaces), then carries
every packet across. A packet leaves when the one before it has left and its own bits are out, and arrives the
delay later: what `tc netem delay ... rate ...` does. Ends when its standard input closes.
"""

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000


def open_device(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def main() -> None:
    name_a, name_b, delay_ms, rate_mbit = sys.argv[1:]
    delay = float(delay_ms) / 1000
    seconds_per_byte = 8 / (float(rate_mbit) * 1e6)
    a, b = open_device(name_a), open_device(name_b)
    print("ready", flush=True)
    other = {a: b, b: a}
    on_the_way = {a: deque(), b: deque()}
    free_at = {a: 0.0, b: 0.0}
    stdin = sys.stdin.fileno()
    while True:
        due = min((queue[0][0] for queue in on_the_way.values() if queue), default=None)
        timeout = None if due is None else max(0.0, due - time.monotonic())
        readable, _, _ = select.select([a, b, stdin], [], [], timeout)
        if stdin in readable:
            return
        for fd in readable:
            take_all(fd, on_the_way[fd], free_at, seconds_per_byte, delay)
        now = time.monotonic()
        for fd, queue in on_the_way.items():
            while queue and queue[0][0] <= now:
                try:
                    os.write(other[fd], queue.popleft()[1])
                except OSError:
                    pass  # The far side is not up yet: the packet is lost, as on a wire.


def take_all(fd, queue, free_at, seconds_per_byte, delay) -> None:
    # Bounded, so that what is due on the other side is not held up.
    for _ in range(64):
        try:
            packet = os.read(fd, 65536)
        except (BlockingIOError, OSError):
            return
        free_at[fd] = max(free_at[fd], time.monotonic()) + len(packet) * seconds_per_byte
        queue.append((free_at[fd] + delay, packet))


if __name__ == "__main__":
    main()
