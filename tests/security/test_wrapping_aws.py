"""Keys that AWS KMS wraps, against moto's server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
from moto.kms.models import kms_backends
from moto.server import ThreadedMotoServer

from fortress.errors import CannotStart, Unavailable
from fortress.security.keys import KeyRing
from fortress.security.keyservice import Patience
from fortress.security.wrapping import RingWrapping, Unreadable, WrappedKey
from fortress.security.wrapping_aws import KmsWrapping, kms_key, open_kms
from fortress.security.wrappings import open_wrapping
from fortress.settings import Settings
from fortress.testing.contracts.wrapping import CONTEXT, Destroy, Rotate, WrappingContract, refused

REGION = "eu-central-1"
ALIAS = "alias/fortress"
QUICK = Patience(seconds=0.2, tries=2, pause=0.01)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore", "ignore::DeprecationWarning:moto")


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The usual chain begins with the environment; nothing of this machine's own is read."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "made-up")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up-too")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def kms(endpoint: str, credentials: None) -> Iterator[Any]:
    """The administrator's side of KMS, with a new key behind the alias."""
    client = boto3.client("kms", region_name=REGION, endpoint_url=endpoint)
    client.create_alias(AliasName=ALIAS, TargetKeyId=client.create_key()["KeyMetadata"]["KeyId"])
    yield client
    client.delete_alias(AliasName=ALIAS)
    client.close()


@pytest.fixture
async def wrapping(kms: Any, endpoint: str) -> AsyncIterator[KmsWrapping]:
    async with open_kms(kms_key(ALIAS, REGION, endpoint)) as wrapping:
        yield wrapping


class TestKmsWrapping(WrappingContract):
    @pytest.fixture
    def wrapping(self, wrapping: KmsWrapping) -> KmsWrapping:
        return wrapping

    @pytest.fixture
    def rotate(self, kms: Any) -> Rotate:
        async def rotate() -> None:
            kms.update_alias(AliasName=ALIAS, TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])

        return rotate

    @pytest.fixture
    def destroy(self) -> Destroy:
        async def destroy(key_id: str) -> None:
            # What KMS does when the waiting period of a deletion is over; moto has no such moment.
            del kms_backends["123456789012"][REGION].keys[key_id.rpartition("/")[2]]

        return destroy

    @pytest.fixture
    async def foreign(self, kms: Any, wrapping: KmsWrapping, endpoint: str) -> WrappedKey:
        own = (await wrapping.wrap(b"ours", CONTEXT)).key_id
        other = kms.create_key()["KeyMetadata"]["Arn"]
        async with open_kms(kms_key(other, endpoint=endpoint)) as theirs:
            return WrappedKey(own, (await theirs.wrap(b"theirs", CONTEXT)).blob)


async def test_the_id_is_the_keys_arn(wrapping: KmsWrapping, kms: Any) -> None:
    arn = kms.describe_key(KeyId=ALIAS)["KeyMetadata"]["Arn"]
    assert (await wrapping.wrap(b"secret", CONTEXT)).key_id == f"awskms:{arn}"
    assert f"awskms:{arn}" in repr(wrapping)


async def test_a_key_of_another_account_or_region_is_never_asked(wrapping: KmsWrapping) -> None:
    wrapped = await wrapping.wrap(b"secret", CONTEXT)
    for ours, other in ((f":{REGION}:", ":us-east-1:"), (":123456789012:", ":210987654321:"), ("arn:aws:", "arn:aws-cn:")):
        assert ours in wrapped.key_id
        assert await refused(wrapping, WrappedKey(wrapped.key_id.replace(ours, other), wrapped.blob))


async def test_a_key_by_its_arn_unwraps_before_it_has_wrapped(wrapping: KmsWrapping, endpoint: str) -> None:
    wrapped = await wrapping.wrap(b"secret", CONTEXT)
    async with open_kms(kms_key(wrapped.key_id.removeprefix("awskms:"), endpoint=endpoint)) as another:
        assert await another.unwrap(wrapped, CONTEXT) == b"secret"


class Refusing:
    """KMS as a client sees it, where every operation is refused in the same way."""

    def __init__(self, code: str, said: str, status: int) -> None:
        self._answer = {"Error": {"Code": code, "Message": said}, "ResponseMetadata": {"HTTPStatusCode": status}}
        self.asked = 0

    async def decrypt(self, **_: Any) -> None:
        self.asked += 1
        raise ClientError(self._answer, "Decrypt")

    encrypt = decrypt


WRAPPED = WrappedKey(f"awskms:arn:aws:kms:{REGION}:123456789012:key/1", b"blob")


@pytest.mark.parametrize(
    ("code", "said", "status", "error", "asked"),
    [
        ("InvalidCiphertextException", "", 400, Unreadable, 1),
        ("IncorrectKeyException", "", 400, Unreadable, 1),
        ("NotFoundException", "", 400, Unreadable, 1),
        ("KMSInvalidStateException", "key is pending deletion", 400, Unreadable, 1),
        ("AccessDeniedException", "The ciphertext refers to a customer master key that does not exist", 400, Unreadable, 1),
        ("AccessDeniedException", "User: me is not authorized to perform: kms:Decrypt", 400, Unavailable, 1),
        ("DisabledException", "", 400, Unavailable, 1),
        ("ExpiredTokenException", "", 400, Unavailable, 1),
        ("ThrottlingException", "", 400, Unavailable, 2),
        ("KMSInternalException", "", 500, Unavailable, 2),
        ("SomethingNew", "", 503, Unavailable, 2),
    ],
)
async def test_what_kms_refuses_is_unreadable_or_not_available_and_asked_again_only_when_that_helps(
    code: str, said: str, status: int, error: type[Exception], asked: int
) -> None:
    client = Refusing(code, said, status)
    key = kms_key(WRAPPED.key_id.removeprefix("awskms:"))
    wrapping = KmsWrapping(key, client, away=BotoCoreError, refused=ClientError, patience=QUICK)
    with pytest.raises(error) as found:
        await wrapping.unwrap(WRAPPED, CONTEXT)
    assert client.asked == asked
    assert "arn:" not in f"{found.value!r}{found.value.__cause__!r}"


async def test_a_key_that_kms_does_not_let_us_wrap_with_is_not_available() -> None:
    key = kms_key(WRAPPED.key_id.removeprefix("awskms:"))
    for code in ("NotFoundException", "DisabledException", "KMSInvalidStateException", "AccessDeniedException"):
        wrapping = KmsWrapping(key, Refusing(code, "a secret", 400), away=BotoCoreError, refused=ClientError, patience=QUICK)
        with pytest.raises(Unavailable) as found:
            await wrapping.wrap(b"a secret", CONTEXT)
        assert str(found.value.__cause__) == code


@pytest.fixture
def nobody() -> Iterator[Callable[[], str]]:
    """An address that takes connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield lambda: f"http://127.0.0.1:{server.getsockname()[1]}"


async def test_a_slow_kms_is_given_up_within_the_bound(nobody: Callable[[], str]) -> None:
    async with open_kms(kms_key(ALIAS, REGION, nobody()), QUICK) as wrapping, asyncio.timeout(10):
        with pytest.raises(Unavailable):
            await wrapping.wrap(b"secret", CONTEXT)


async def test_a_kms_that_is_gone_is_not_available(nobody: Callable[[], str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        gone = f"http://127.0.0.1:{server.getsockname()[1]}"
    async with open_kms(kms_key(ALIAS, REGION, gone), QUICK) as wrapping, asyncio.timeout(10):
        with pytest.raises(Unavailable) as found:
            await wrapping.wrap(b"secret", CONTEXT)
    assert str(found.value.__cause__) == "EndpointConnectionError"


async def test_without_credentials_it_does_not_start(endpoint: str, ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    settings = Settings.model_validate({"wrapping_key": f"awskms:{ALIAS}?region={REGION}&endpoint={endpoint}"})
    with pytest.raises(CannotStart, match="awskms can't be used: NoCredentialsError"):
        async with open_wrapping(settings, ring):
            raise AssertionError


async def test_from_the_settings_data_moves_from_the_ring_to_kms(kms: Any, endpoint: str, ring: KeyRing) -> None:
    before = await RingWrapping(ring).wrap(b"secret", CONTEXT)
    settings = Settings.model_validate({"wrapping_key": f"awskms:{ALIAS}?region={REGION}&endpoint={endpoint}"})
    async with open_wrapping(settings, ring) as wrapping:
        after = await wrapping.wrap(await wrapping.unwrap(before, CONTEXT), CONTEXT)
        assert after.key_id == wrapping.current
        assert after.key_id.startswith(f"awskms:arn:aws:kms:{REGION}:")
        assert await wrapping.unwrap(after, CONTEXT) == b"secret"
    with pytest.raises(CannotStart, match="NotFoundException"):
        async with open_wrapping(settings.model_copy(update={"wrapping_key": (settings.wrapping_key[0].replace("fortress", "no"),)}), ring):
            raise AssertionError
