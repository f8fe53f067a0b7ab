"""Settings: `FORTRESS_*` from the environment over `fortress.toml` over the defaults, read once.

A name that is not listed here is an error, so a typing mistake can't silently leave a default in force.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

from fortress.errors import CannotStart

PREFIX = "FORTRESS_"
FILE = "fortress.toml"


def _comma_separated(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _from_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        # What is not JSON may hold a secret all the same: nothing of it is repeated.
        raise ValueError("this is not JSON") from None


def is_private_way(url: str) -> bool:
    """Whether what goes to this URL can't be read on the way: https, or http on this machine (ASVS V12.2.1)."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        there = bool(host) and parts.port != 0 and parts.username is None and not parts.fragment
    except ValueError:
        return False
    return there and (parts.scheme == "https" or (parts.scheme == "http" and is_here(host)))


def is_here(host: str) -> bool:
    """Whether this is a name or address of the machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _private_way(value: str) -> str:
    if value and not is_private_way(value):
        raise ValueError("this is no https:// URL; http is for 127.0.0.1 and localhost")
    return value


def _own_path(value: str) -> str:
    if not _OWN_PATH.fullmatch(value):
        raise ValueError("a path begins with one slash and has no query")
    return value


# One slash and no second one, and no backslash, which browsers read as one: never another site's address.
_OWN_PATH = re.compile(r"/(?:[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*/?)?", re.ASCII)
_STREAM = r"^[A-Za-z0-9_-]{1,64}$"
_PROVIDER_NAME = r"^[a-z][a-z0-9-]{0,31}$"
Network = IPv4Network | IPv6Network
PrivateUrl = Annotated[str, Field(max_length=500), AfterValidator(_private_way)]
OwnPath = Annotated[str, Field(max_length=200), AfterValidator(_own_path)]
OwnPaths = Annotated[tuple[OwnPath, ...], Field(min_length=1), BeforeValidator(_comma_separated)]
Names = Annotated[tuple[str, ...], BeforeValidator(_comma_separated)]
Streams = Annotated[tuple[Annotated[str, Field(pattern=_STREAM)], ...], BeforeValidator(_comma_separated)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_comma_separated)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Environment(StrEnum):
    """Development makes keys and a database of its own; production refuses to start without real ones."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class ProviderSettings(BaseModel):
    """Somebody else's sign-in that people may use: `[providers.<name>]` in fortress.toml.

    Attributes:
        kind: what is known of it already; `oidc` is any issuer of OpenID Connect.
        issuer: of `oidc`, exactly as its metadata spells it.
        address: of `github`, a GitHub Enterprise Server; of `microsoft`, a national cloud.
        tenant: of `microsoft`: a tenant's id, or whose people may come: common, organizations or consumers.
        redirect_uri: the page of your own that posts code and state back; unset: our own callback.
        client_auth: how the secret travels to the token endpoint; unset: as usual for the kind.
        verified_claim: the claim that says whether the e-mail address is theirs; unset: as usual for the kind.
        acr_values: asked of the provider; when `trust_factors`, an `acr` of these counts as two factors.
        trust_factors: whether its word that somebody proved two factors counts here (ASVS V6.8.4).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: Literal["google", "github", "microsoft", "oidc"]
    client_id: str = Field(min_length=1, max_length=256)
    client_secret: SecretStr | None = None
    title: str = Field("", max_length=80)
    issuer: PrivateUrl = ""
    address: PrivateUrl = ""
    tenant: str = Field("common", pattern=r"^(common|organizations|consumers|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$")
    scopes: Names = ()
    redirect_uri: PrivateUrl = ""
    client_auth: Literal["", "basic", "post"] = ""
    verified_claim: str = Field("", max_length=80)
    acr_values: Names = ()
    trust_factors: bool = False

    @model_validator(mode="after")
    def _an_issuer_for_those_without(self) -> Self:
        if (self.kind == "oidc") != bool(self.issuer):
            raise ValueError("kind oidc needs an issuer" if self.kind == "oidc" else "an issuer is for kind oidc alone")
        if self.address and self.kind not in ("github", "microsoft"):
            raise ValueError("an address is for kinds github and microsoft")
        return self


ProviderName = Annotated[str, Field(pattern=_PROVIDER_NAME)]
Providers = Annotated[dict[ProviderName, ProviderSettings], BeforeValidator(_from_json)]


class Settings(BaseModel):
    """All that can be set. Each field is `FORTRESS_<NAME>` in the environment and `<name>` in fortress.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    env: Environment = Field(Environment.DEVELOPMENT, description="development or production")
    site: str = Field("Fortress", max_length=80, description="the site's name, as people see it")
    state_dir: Path = Field(Path(".fortress"), description="where development keeps its keys, data and mail")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=1, le=65535, description="port to listen on")
    workers: int = Field(1, ge=1, le=256, description="server processes")
    tls_cert: Path | None = Field(None, description="certificate chain, PEM")
    tls_key: Path | None = Field(None, description="private key, PKCS#8 PEM")
    public_url: str = Field("", description="the outside address, when it is not http(s)://host:port")
    allowed_hosts: Names = Field(("127.0.0.1", "localhost", "[::1]"), description="names that Host may carry; *.name for any below")
    trusted_proxies: Networks = Field((), description="networks whose X-Forwarded-For is believed")

    request_timeout: Seconds = Field(30.0, description="seconds that a whole request may take")
    body_timeout: Seconds = Field(10.0, description="seconds in which a body must have arrived")
    header_timeout: Seconds = Field(10.0, description="seconds in which a request's head must have arrived")
    max_body: int = Field(1_048_576, ge=1024, le=1_073_741_824, description="bytes that a body may have")
    max_head: int = Field(16_384, ge=4096, le=262_144, description="bytes that all headers together may have")
    max_connections: int = Field(1024, ge=16, le=65_536, description="connections that one worker takes at once")
    drain_seconds: float = Field(1.0, ge=0, le=600, description="seconds between not ready and the stop of the server")
    kill_seconds: int = Field(30, ge=1, le=3600, description="seconds after which a worker that does not stop is killed")

    database_url: SecretStr | None = Field(None, description="PostgreSQL 15 or newer; unset: the embedded one")
    database_owner_url: SecretStr | None = Field(None, description="the role that migrates; unset: database_url")
    database_readers: int = Field(8, ge=1, le=1000, description="reading connections per worker")
    database_writers: int = Field(8, ge=1, le=1000, description="writing connections per worker")
    database_wait: Seconds = Field(2.0, description="seconds to wait for a connection before 503")
    statement_timeout: Seconds = Field(10.0, description="seconds that one statement may take")
    lock_timeout: Seconds = Field(3.0, description="seconds to wait for a row or table lock")
    idle_transaction_timeout: Seconds = Field(15.0, description="seconds that an open transaction may idle")

    redis_url: SecretStr | None = Field(None, description="Redis or Valkey; unset: PostgreSQL does its work")
    limit_store: Literal["auto", "postgres", "redis", "memory"] = Field("auto", description="where limits are counted")
    limit_store_timeout: Annotated[float, Field(gt=0, le=5)] = Field(0.05, description="seconds that the limit store may take")
    cache_memory: int = Field(32, ge=0, le=65_536, description="MiB that kept answers may take per worker; 0: none are kept")
    cache_timeout: Annotated[float, Field(gt=0, le=5)] = Field(0.05, description="seconds that Redis may take for a kept answer")
    app: str | None = Field(None, description="the project's app, as module:name")
    broker_url: SecretStr | None = Field(None, description="nats://, redis:// or kafka:// that facts are sent to; unset: they stay here")
    broker_stream: str = Field("fortress", pattern=_STREAM, description="this service's stream at the broker")
    broker_hear: Streams = Field((), description="streams of other services whose facts are heard here")
    broker_keep: int = Field(1_000_000, ge=1000, description="messages that a stream of ours holds at most, at NATS and Redis")

    mail_url: SecretStr | None = Field(None, description="smtp(s)://user:password@host:port; unset: a local outbox")
    mail_from: str = Field("fortress@localhost", description="sender of the mails")
    webhook_networks: Networks = Field(
        (), description="networks that webhooks may go to though they are not public; in development without TLS within this machine"
    )

    keyring: str | None = Field(None, description="the key ring: a file; unset in development: one is made")
    wrapping_key: Names = Field((), description="what wraps data keys: ring, awskms:… or vault:…; the first wraps, all unwrap; unset: ring")
    vault_token: SecretStr | None = Field(None, description="token for vault:… keys; unset: an agent at the address adds its own")
    issuer: str = Field("", description="`iss` of our tokens; unset: public_url")
    idempotency_hours: int = Field(24, ge=24, le=720, description="how long an Idempotency-Key is known")
    access_minutes: int = Field(10, ge=1, le=60, description="life of an access token")
    session_idle_days: int = Field(14, ge=1, le=365, description="a session unused for so long ends")
    session_days: int = Field(90, ge=1, le=730, description="a session ends after so long in any case")
    sessions_per_user: int = Field(50, ge=1, le=1000, description="sessions that a person may have; one more ends the oldest")
    refresh_grace: float = Field(10.0, ge=0, le=60, description="seconds in which a repeated refresh gets the same successor")
    password_min: int = Field(8, ge=8, le=64, description="characters that a password must have")
    breached_url: PrivateUrl = Field("", description="range service that is asked for leaked passwords too; unset: only our own list")
    require_verified_email: bool = Field(False, description="nobody signs in before their address is proved")
    sign_in_failures: int = Field(
        10, ge=3, le=1_000_000, description="wrong passwords of an account in 30 min., per known device and all others"
    )
    sign_in_failures_per_address: int = Field(100, ge=3, le=1_000_000, description="wrong passwords from an address in an hour")
    account_url: PrivateUrl = Field("", description="page that mails link to, with the token behind #; unset: mails hold the token alone")
    argon2_memory: int = Field(19_456, ge=12_288, description="KiB per password hash")
    argon2_time: int = Field(2, ge=1, description="passes per password hash")
    hash_threads: int = Field(0, ge=0, le=64, description="threads that hash passwords per worker; 0: its share of the cores")
    hash_queue: int = Field(64, ge=1, le=10_000, description="hashes that may wait before 503")

    passkey_origins: Names = Field((), description="origins whose pages may use passkeys; unset: the public_url's")
    admin_second_factor: bool | None = Field(None, description="the administrators' role needs a second factor; unset: in production")

    providers: Providers = Field(default_factory=dict, description="sign-in with others, by name; in the environment as JSON")
    return_paths: OwnPaths = Field(("/",), description="paths of this site that a sign-in with others may end at")

    admin_email: str | None = Field(None, description="the first administrator")
    admin_password: SecretStr | None = Field(None, description="the first administrator's password; unset: made and shown once")

    worker: Literal["inside", "apart"] = Field(
        "inside", description="where subscribers and jobs run: inside the server, or in `fortress worker`"
    )
    subscribers_at_once: int = Field(4, ge=1, le=256, description="subscribers that one process has in the middle of a batch at once")
    subscribers_grace: Annotated[float, Field(ge=0, le=3600)] = Field(
        10.0, description="seconds that a subscriber gets to finish its batch when its process stops"
    )
    jobs_at_once: int = Field(5, ge=1, le=1000, description="jobs that one process runs at once; fewer than its writing connections")
    jobs_grace: Annotated[float, Field(ge=0, le=3600)] = Field(10.0, description="seconds that jobs get to end when their process stops")
    jobs_keep_days: int = Field(30, ge=1, le=3650, description="days for which dead and cancelled jobs are kept")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least that is logged")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal, else json")
    metrics_token: SecretStr | None = Field(None, description="bearer token that opens /health/metrics beyond loopback")
    partitions_ahead: int = Field(3, ge=1, le=24, description="months of partitions made ahead")
    audit_seal_seconds: Seconds = Field(5.0, description="seconds between two seals of the audit log")
    failpoint: str = Field("", max_length=500, description="name:action of failpoints, for crash tests; never in production")

    @model_validator(mode="after")
    def _production_needs_real_parts(self) -> Self:
        if self.env is not Environment.PRODUCTION:
            return self
        missing = [name for name in ("database_url", "keyring") if getattr(self, name) is None]
        if missing:
            raise ValueError("production needs " + " and ".join(PREFIX + name.upper() for name in missing))
        if self.failpoint:
            raise ValueError(f"{PREFIX}FAILPOINT is for tests; production refuses it")
        return self

    @property
    def production(self) -> bool:
        return self.env is Environment.PRODUCTION

    @property
    def administrators_prove_two(self) -> bool:
        """Whether the administrators' role counts only in sessions of two factors."""
        return self.production if self.admin_second_factor is None else self.admin_second_factor

    @property
    def administrator(self) -> str:
        """The first administrator's address."""
        return self.admin_email or "admin@example.com"

    @property
    def origin(self) -> str:
        """Scheme and authority under which clients reach us, without a trailing slash."""
        scheme = "https" if self.tls_cert else "http"
        return (self.public_url or f"{scheme}://{self.host}:{self.port}").rstrip("/")


class Origins(dict[str, str]):
    """Where each setting came from: `environment`, the file's path, or `default`."""


def read_settings(
    environment: Mapping[str, str] | None = None, directory: Path | None = None, *, given: Mapping[str, Any] | None = None
) -> Settings:
    """The settings in force.

    Args:
        environment: instead of the process's own.
        directory: where fortress.toml is; unset: here.
        given: what was said on the command line, above all else.

    Raises:
        CannotStart: a name is unknown or a value is wrong; the line names it and never shows a secret.
    """
    return read_with_origins(environment, directory, given=given)[0]


def read_with_origins(
    environment: Mapping[str, str] | None = None, directory: Path | None = None, *, given: Mapping[str, Any] | None = None
) -> tuple[Settings, Origins]:
    """The settings in force, and where each came from (for `fortress doctor`)."""
    path = (directory or Path.cwd()) / FILE
    values, origins = dict[str, Any](), Origins()
    sources = {str(path): _from_file(path), "environment": _from_environment(environment), "command line": given or {}}
    for source, found in sources.items():
        _refuse_unknown(found, source)
        values |= found
        origins |= dict.fromkeys(found, source)
    try:
        return Settings(**values), origins
    except ValidationError as error:
        raise CannotStart(_said(error), hint="fortress doctor lists every setting") from None


def _from_file(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise CannotStart(f"{path} can't be read: {error}") from None


def _from_environment(environment: Mapping[str, str] | None) -> dict[str, Any]:
    given = os.environ if environment is None else environment
    return {name.removeprefix(PREFIX).lower(): value for name, value in given.items() if name.startswith(PREFIX) and value != ""}


def _refuse_unknown(given: Mapping[str, Any], source: str) -> None:
    for name in given:
        if name in Settings.model_fields:
            continue
        shown = PREFIX + name.upper() if source == "environment" else name
        close = difflib.get_close_matches(name, Settings.model_fields, 1)
        guess = f"did you mean {PREFIX + close[0].upper() if source == 'environment' else close[0]}?" if close else ""
        raise CannotStart(f"unknown setting {shown} ({source})", hint=guess or "fortress doctor lists every setting")


def _said(error: ValidationError) -> str:
    parts = []
    for item in error.errors(include_input=False, include_url=False):
        name = ".".join((PREFIX + str(item["loc"][0]).upper(), *map(str, item["loc"][1:]))) if item["loc"] else ""
        said = item["msg"].removeprefix("Value error, ")
        parts.append(f"{name}: {said}" if name else said)
    return "; ".join(parts)
