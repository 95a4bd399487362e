"""Writes to a call of grpc.aio without losing the status of one that the server ended.

``call.write`` replaces the status that the server sent by "INTERNAL: Internal error from Core" where the write fails
because of it (https://github.com/grpc/grpc/issues/36066), so that a refusal while pixels are being sent would lose its
reason. The call beneath it fails without touching the status.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc


async def write(call: Any, message: bytes) -> bool:
    """Waits until the call accepts the message; False where the call has ended: its status has the reason."""
    if call.done():
        return False
    try:
        await call.wait_for_connection()
        await call._cython_call.send_serialized_message(message)
    except asyncio.CancelledError:
        # The call was cancelled, not this task, where the task has no request to cancel.
        if call.cancelled():
            return False
        raise
    except grpc.RpcError:
        return False
    except Exception as error:
        if type(error).__module__.startswith("grpc"):
            return False
        raise
    return True
