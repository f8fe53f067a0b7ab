"""The server as a process: it starts cleanly or says why not, and stops without losing a request."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from fortress.errors import CannotStart
from fortress.http.server import check_port, serve
from fortress.settings import Settings

SUBJECT = Path(__file__).with_name("server_subject.py")
SOON = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Served:
    """A server of its own in a process group of its own, as a terminal would start it."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.port = free_port()
        given = [f"{name}={value}" for name, value in settings.items()]
        self._out = folder / "out"
        with self._out.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(SUBJECT), str(self.port), *given], stdout=out, stderr=out, start_new_session=True
            )

    def said(self) -> str:
        return self._out.read_text()

    def until(self, what: str, times: int = 1) -> None:
        """Wait until the server has logged this so many times."""
        self._wait(lambda: self.said().count(what) >= times)

    def serving(self, workers: int = 1) -> None:
        """Wait until every worker serves."""
        self.until("Started worker-", workers)

    def get(self, path: str = "/") -> tuple[int, str | None, int]:
        """Status, the Connection header, and the id of the process that answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SOON)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.getheader("connection"), int(answer.read())
        finally:
            connection.close()

    def ask(self, path: str) -> socket.socket:
        """Send a request and leave the answer for later."""
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=SOON)
        opened.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return opened

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def tell_all(self, number: signal.Signals) -> None:
        """As a terminal or a service manager does: to every process of the group."""
        os.killpg(self.process.pid, number)

    def ended(self) -> int:
        return self.process.wait(SOON)

    def end(self) -> None:
        if self.process.poll() is None:
            for worker in self.workers():
                worker.kill()
            self.process.kill()
            self.process.wait()

    def _wait(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + SOON
        while not done():
            assert time.monotonic() < end, self.said()
            time.sleep(0.02)


Start = Callable[..., Served]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Served] = []

    def one(**settings: object) -> Served:
        started.append(Served(tmp_path, **settings))
        return started[-1]

    yield one
    for served in started:
        served.end()


class Client(threading.Thread):
    """Asks over one kept connection again and again, until it is told that the server closes it."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self.answers = 0
        self.failures: list[str] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=SOON)
        while True:
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                return
            if answer.status != 200:
                self.failures.append(str(answer.status))
            self.answers += 1
            if answer.getheader("connection") == "close":
                return


def test_a_stop_under_load_loses_no_request_and_ends_well(start: Start) -> None:
    served = start(workers=2, drain_seconds=1)
    served.serving(2)
    clients = [Client(served.port) for _ in range(16)]
    for client in clients:
        client.start()
    time.sleep(0.5)
    served.tell(signal.SIGTERM)
    for client in clients:
        client.join(SOON)
    assert served.ended() == 0
    assert [failure for client in clients for failure in client.failures] == []
    assert min(client.answers for client in clients) > 1
    assert served.said().count("lifespan ended") == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_drains_like_one_to_the_server(start: Start, number: signal.Signals) -> None:
    served = start(workers=2, drain_seconds=1.5)
    served.serving(2)
    under_way = served.ask("/sleep/2")
    time.sleep(0.1)
    told = time.monotonic()
    served.tell_all(number)
    time.sleep(0.3)
    assert {served.get("/ready")[:2] for _ in range(6)} == {(503, "close")}
    assert served.get("/")[:2] == (200, "close")
    assert b"200 OK" in under_way.recv(4096)
    under_way.close()
    assert served.ended() == 0
    assert time.monotonic() - told >= 1.5


def test_a_second_signal_ends_the_wait_but_not_the_requests(start: Start) -> None:
    served = start(drain_seconds=60)
    served.serving()
    under_way = served.ask("/sleep/1")
    time.sleep(0.1)
    served.tell_all(signal.SIGINT)
    time.sleep(0.2)
    served.tell_all(signal.SIGINT)
    assert b"200 OK" in under_way.recv(4096)
    under_way.close()
    assert served.ended() == 0


def test_a_third_signal_ends_what_hangs(start: Start) -> None:
    served = start(drain_seconds=60, kill_seconds=60)
    served.serving()
    under_way = served.ask("/hang")
    for _ in range(3):
        time.sleep(0.2)
        served.tell(signal.SIGINT)
    served.ended()
    under_way.close()


def test_a_worker_that_hangs_is_killed_in_time(start: Start) -> None:
    served = start(drain_seconds=0, kill_seconds=1)
    served.serving()
    under_way = served.ask("/hang")
    time.sleep(0.2)
    told = time.monotonic()
    served.tell(signal.SIGTERM)
    assert served.ended() == 0
    assert time.monotonic() - told < 10
    under_way.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_the_workers_load_ends_at_once(start: Start, number: signal.Signals) -> None:
    served = start(workers=2, slow=1)
    served.until("Spawning worker-2")
    time.sleep(0.3)
    served.tell_all(number)
    assert served.ended() == 0
    assert "Started worker" not in served.said()


def test_a_worker_that_dies_is_replaced(start: Start) -> None:
    served = start(workers=1)
    served.serving()
    before = served.get()[2]
    # Granian takes deaths within 5.5 seconds of a start for a loop of crashes only from the second one on.
    # Held open: a client that hangs up at once may not have been heard.
    with closing(served.ask("/die")):
        served.until("Started worker-", 2)
    assert served.get()[2] != before
    served.tell(signal.SIGTERM)
    assert served.ended() == 0


def test_a_worker_that_is_stopped_by_hand_drains_and_is_replaced(start: Start) -> None:
    served = start(drain_seconds=0.2)
    served.serving()
    served.workers()[0].terminate()
    served.until("lifespan ended")
    served.until("Started worker-", 2)
    served.tell(signal.SIGTERM)
    assert served.ended() == 0


def test_workers_do_not_outlive_a_killed_server(start: Start) -> None:
    served = start(workers=2, drain_seconds=0.1)
    served.serving(2)
    workers = served.workers()
    served.process.kill()
    served.process.wait()
    gone, alive = psutil.wait_procs(workers, timeout=SOON)
    assert {worker.status() for worker in alive} <= {psutil.STATUS_ZOMBIE}
    assert len(gone) + len(alive) == 2


def test_silent_and_slow_connections_are_cut_and_large_heads_refused(start: Start) -> None:
    served = start(header_timeout=0.5, max_head=4096)
    served.serving()
    for opening in (b"", b"GET / HTTP/1.1\r\nHost: lo"):
        with socket.create_connection(("127.0.0.1", served.port), timeout=SOON) as quiet:
            quiet.sendall(opening)
            assert quiet.recv(100) == b""
    with socket.create_connection(("127.0.0.1", served.port), timeout=SOON) as large:
        large.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n")
        assert large.recv(100).startswith(b"HTTP/1.1 431")


def test_granians_own_lines_have_our_shape(start: Start) -> None:
    served = start()
    served.serving()
    served.tell(signal.SIGTERM)
    served.ended()
    lines = [line for line in served.said().splitlines() if line != "lifespan ended"]
    assert lines
    assert all(re.fullmatch(r'\{"ts":"[^"]+","level":"info","event":".+"worker":\d+\}', line) for line in lines)


def test_a_server_whose_port_is_taken_says_so_and_starts_nothing(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=f"127.0.0.1:{port} is taken"):
            check_port("127.0.0.1", port)
        with pytest.raises(CannotStart, match="taken"):
            serve(lambda _: pytest.fail("made an app"), Settings(port=port))


def test_a_port_that_others_share_is_taken_too() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(CannotStart, match="taken"):
            check_port("127.0.0.1", taken.getsockname()[1])


def test_a_free_port_may_be_used_again_at_once() -> None:
    port = free_port()
    for _ in range(2):
        check_port("127.0.0.1", port)
        check_port("localhost", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_that_is_not_ours_is_refused(host: str) -> None:
    with pytest.raises(CannotStart, match=host):
        check_port(host, free_port())


def test_tls_needs_a_certificate_and_its_key(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    for cert, key, problem in (
        (nonsense, None, "and its key"),
        (nonsense, nonsense, "can't be used"),
        (tmp_path / "no", nonsense, "No such"),
    ):
        with pytest.raises(CannotStart, match=problem):
            serve(lambda _: pytest.fail("made an app"), Settings(port=free_port(), tls_cert=cert, tls_key=key))


def self_signed(folder: Path, encryption: serialization.KeySerializationEncryption) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    return cert_file, key_file


def test_tls_is_1_3_and_nothing_older(start: Start, tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path, serialization.NoEncryption())
    served = start(tls_cert=cert, tls_key=key)
    served.serving()
    trusting = ssl.create_default_context(cafile=str(cert))
    with trusting.wrap_socket(socket.create_connection(("127.0.0.1", served.port), SOON), server_hostname="localhost") as secure:
        assert secure.version() == "TLSv1.3"
        secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert secure.recv(100).startswith(b"HTTP/1.1 200")
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", served.port), SOON) as plain:
        trusting.wrap_socket(plain, server_hostname="localhost")


def test_a_key_that_needs_a_password_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path, serialization.BestAvailableEncryption(b"secret"))
    with pytest.raises(CannotStart, match="can't be used"):
        serve(lambda _: pytest.fail("made an app"), Settings(port=free_port(), tls_cert=cert, tls_key=key))
