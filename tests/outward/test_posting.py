"""Posting to real sockets: nowhere that is not admitted, in time, and no more bytes than were meant to be read (FAULTS: SSRF)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.outward.receiver import (
    Behaviour,
    babble,
    endless_body,
    endless_head,
    hanging_up,
    receiving,
    saying,
    silence,
    stalling_body,
)

from fortress.outward import Fault, Outward, Unanswered
from fortress.outward.connecting import Resolver

HERE = (ip_network("127.0.0.0/8"),)
NAME = "receiver.example"


class Names:
    """A resolver that gives the next of these answers each time it is asked, and counts."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


def certificate(folder: Path, name: str) -> Path:
    """A certificate for this name, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / f"{name}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


async def fault_of(outward: Outward, url: str) -> Fault:
    with pytest.raises(Unanswered) as raised:
        await outward.post(url, {}, b"{}")
    return raised.value.fault


async def test_what_is_posted_arrives() -> None:
    async with receiving(saying(200, "Retry-After: 7", body=b"thanks")) as receiver:
        answer = await Outward(HERE, plain=True).post(receiver.url, {"webhook-id": "1", "user-agent": "other"}, b"body")
        (headers, body) = receiver.requests[0]
    assert (answer.status, answer.retry_after, answer.start, body) == (200, "7", b"thanks", b"body")
    assert headers["request"] == "POST /hooks?token=MARKER HTTP/1.1"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert headers["user-agent"] == "fortress"


REFUSED = [
    ("https://127.0.0.1/", ()),
    ("https://[::1]/", ()),
    ("https://[::ffff:127.0.0.1]/", ()),
    ("https://10.0.0.1/", ()),
    ("https://169.254.169.254/latest/meta-data/", ()),
    ("https://2130706433/", ()),
    ("http://127.0.0.1/", ()),
    ("https://name.example/", ("127.0.0.1",)),
    ("https://name.example/", ("::ffff:10.0.0.1",)),
    ("https://name.example/", ("64:ff9b::7f00:1",)),
    # One that lies within among public ones.
    ("https://name.example/", ("8.8.8.8", "192.168.0.1")),
    ("https://name.example/", tuple(f"8.8.8.{last}" for last in range(17))),
    ("https://localhost/", ("127.0.0.1",)),
]


@pytest.mark.parametrize(("url", "addresses"), REFUSED)
async def test_no_connection_leaves_the_allow_list(url: str, addresses: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []

    async def connect(*args: object, **_: object) -> None:
        opened.append(args)
        raise OSError

    monkeypatch.setattr("httpcore.AnyIOBackend.connect_tcp", connect)
    fault = await fault_of(Outward(resolver=Names(addresses)), url)
    assert fault in (Fault.URL, Fault.ADDRESS)
    assert opened == []


async def test_the_address_that_was_looked_at_is_the_one_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the name leads to a public address first, and to this machine when it is asked again."""
    opened: list[object] = []

    async def connect(self: object, host: str, *_: object, **__: object) -> None:
        opened.append(host)
        raise OSError

    monkeypatch.setattr("httpcore.AnyIOBackend.connect_tcp", connect)
    names = Names(("8.8.8.8",), ("127.0.0.1",))
    await fault_of(Outward(resolver=names), f"https://{NAME}/")
    assert names.asked == [NAME]
    assert opened == ["8.8.8.8"]


async def test_a_redirect_is_an_answer_and_not_a_way() -> None:
    async with receiving(saying(200)) as within, receiving(saying(307, f"location: {within.url}")) as receiver:
        answer = await Outward(HERE, plain=True).post(receiver.url, {}, b"{}")
    assert answer.status == 307
    assert within.connections == 0


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(saying(200)) as proxy, receiving(saying(204)) as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        answer = await Outward(HERE, plain=True).post(receiver.url, {}, b"{}")
    assert (answer.status, proxy.connections) == (204, 0)


@pytest.mark.parametrize(
    ("behaviour", "fault"),
    [(silence, Fault.TIME), (endless_head, Fault.ANSWER), (hanging_up, Fault.ANSWER), (babble, Fault.ANSWER)],
    ids=["silence", "endless_head", "hanging_up", "babble"],
)
async def test_what_gives_no_answer_is_left(behaviour: Behaviour, fault: Fault) -> None:
    async with receiving(behaviour) as receiver:
        outward = Outward(HERE, plain=True, seconds=0.3 if behaviour is silence else 5)
        assert await fault_of(outward, receiver.url) is fault


@pytest.mark.parametrize(("behaviour", "most"), [(endless_body, 4096), (stalling_body, 3)], ids=["endless", "stalling"])
async def test_of_a_body_only_the_start_is_read(behaviour: Behaviour, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fortress.outward.posting.BODY_SECONDS", 0.2)
    async with receiving(behaviour) as receiver:
        answer = await Outward(HERE, plain=True).post(receiver.url, {}, b"{}")
    assert (answer.status, len(answer.start)) == (200, most)


async def test_a_name_that_there_is_not_and_a_port_where_nobody_listens() -> None:
    async def nobody(host: str, port: int) -> Sequence[str]:
        raise OSError

    async with receiving(saying(200)) as receiver:
        port = receiver.port
    assert await fault_of(Outward(resolver=nobody), f"https://{NAME}/") is Fault.NAME
    assert await fault_of(Outward(resolver=Names(())), f"https://{NAME}/") is Fault.NAME
    assert await fault_of(Outward(HERE, plain=True), f"http://127.0.0.1:{port}/") is Fault.CONNECTION


async def test_of_two_addresses_the_one_that_answers_is_asked() -> None:
    async with receiving(saying(204)) as receiver:
        # Nobody listens at the first.
        outward = Outward(HERE, plain=True, resolver=Names(("127.0.0.9", "127.0.0.1")))
        answer = await outward.post(f"http://{NAME}:{receiver.port}/", {}, b"{}")
    assert answer.status == 204


@pytest.mark.parametrize(("name", "fault"), [(NAME, None), ("other.example", Fault.CERTIFICATE)])
async def test_tls_is_checked_by_the_name_though_an_address_is_asked(name: str, fault: Fault | None, tmp_path: Path) -> None:
    made = certificate(tmp_path, NAME)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(made)
    trusted = ssl.create_default_context(cafile=made)
    resolver: Resolver = Names(("127.0.0.1",))
    async with receiving(saying(204), tls) as receiver:
        url = f"https://{name}:{receiver.port}/"
        outward = Outward(HERE, resolver=resolver, trusted=trusted)
        if fault is None:
            assert (await outward.post(url, {}, b"{}")).status == 204
            # By the usual authorities it is nobody's.
            assert await fault_of(Outward(HERE, resolver=resolver), url) is Fault.CERTIFICATE
        else:
            assert await fault_of(outward, url) is fault


async def test_posts_beside_each_other_have_a_connection_each() -> None:
    async with receiving(saying(200)) as receiver:
        outward = Outward(HERE, plain=True)
        answers = await asyncio.gather(*(outward.post(receiver.url, {}, b"{}") for _ in range(10)))
    assert {answer.status for answer in answers} == {200}
    assert receiver.connections == 10
