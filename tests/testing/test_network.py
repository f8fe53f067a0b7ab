"""No test reaches the network; what is on this machine is reached as always."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from fortress.testing.network import NetworkRefused

# TEST-NET-1 and the documentation prefix (RFC 5737, RFC 3849): nobody's, should the guard fail.
FAR = [(socket.AF_INET, ("192.0.2.1", 80)), (socket.AF_INET6, ("2001:db8::1", 80))]


@pytest.mark.parametrize(("family", "address"), FAR)
def test_another_machine_is_refused(family: int, address: tuple[str, int]) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as wire:
        for reach in (wire.connect, wire.connect_ex):
            with pytest.raises(NetworkRefused, match=address[0]):
                reach(address)
    with socket.socket(family, socket.SOCK_DGRAM) as wire, pytest.raises(NetworkRefused):
        wire.sendto(b"hello", address)


async def test_an_event_loop_is_refused_too() -> None:
    with pytest.raises(NetworkRefused):
        await asyncio.open_connection(*FAR[0][1])


async def test_names_are_not_looked_up() -> None:
    with pytest.raises(NetworkRefused, match=r"example\.com"):
        socket.getaddrinfo("example.com", 443)
    with pytest.raises(NetworkRefused):
        await asyncio.open_connection("example.com", 443)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost"])
async def test_this_machine_is_reached(host: str) -> None:
    async with await asyncio.start_server(lambda _, writer: writer.close(), host, 0, family=socket.AF_INET) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_unix_sockets_are_reached(tmp_path: Path) -> None:
    async with await asyncio.start_unix_server(lambda _, writer: writer.close(), tmp_path / "s"):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
