"""The kernel's packet filter: nobody new connects to a port, and who has connected is not cut off."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

SO_ATTACH_FILTER = 26
DROP_SYN = (
    (0x30, 0, 0, 13),  # Load the byte with the flags of the TCP header.
    (0x45, 0, 1, 0x02),  # If SYN is set,
    (0x06, 0, 0, 0),  # drop the packet;
    (0x06, 0, 0, 0xFFFFFFFF),  # else take it.
)
"""A program for the kernel's packet filter: operation, steps to go on if so and if not, value."""


def turn_away(listener: socket.socket) -> None:
    """Have the kernel overlook who connects from now on. Who has connected can still be accepted.

    Who is overlooked tries again by itself after a second, and then finds the port closed. To close it at once would
    cut off those that wait to be accepted, and they may have sent a request. A filter of the port's packets does it,
    which Linux has: elsewhere they are cut off.
    """
    if sys.platform != "linux":
        return
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in DROP_SYN))
    program = struct.pack("HP", len(DROP_SYN), ctypes.addressof(instructions))
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
