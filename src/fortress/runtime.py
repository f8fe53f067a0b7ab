"""The parts of one running process: made in order, started, and ended in the opposite order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import msgspec
import structlog

from fortress.assembly import Assembly
from fortress.background import Background
from fortress.clock import Clock, Ids
from fortress.container import Container
from fortress.data import Database
from fortress.data.bus import Bus
from fortress.data.migration.schema import Schema, SchemaState
from fortress.data.partitions import Partitions, partitioned
from fortress.data.roles import APP_ROLE, may_rewrite_audit
from fortress.errors import CannotStart, Unavailable
from fortress.http.addresses import TrustedProxies
from fortress.http.docs import ApiDocuments
from fortress.http.drain import DrainState
from fortress.http.edge import Edge, HostNames
from fortress.http.gate import Gate
from fortress.http.health import Check, MetricsDoor, Readiness
from fortress.http.identify import Bearer, HeaderKey, Identify, Scheme
from fortress.http.inflight import InFlight
from fortress.http.problems import ErrorShape, Problems
from fortress.http.table import RouteTable
from fortress.limits.limiter import Limiter
from fortress.mail import DirectoryMailer, Mailer, SmtpMailer
from fortress.security.callers import CallerCache
from fortress.security.directory import CallerDirectory
from fortress.security.hashing import PasswordHasher
from fortress.security.keyfile import open_keyring
from fortress.security.keys import KeyRing
from fortress.security.passwords import PasswordPolicy, packaged_common_passwords
from fortress.security.permissions import PermissionTable
from fortress.security.refresh import RefreshTokens
from fortress.security.tokens import AccessTokens
from fortress.security.verifiers import KeyVerifier, SessionVerifier, forget
from fortress.settings import Settings
from fortress.upkeep import Task, Upkeeper

CALLERS_REMEMBERED: Final = 20_000
GRACE_SECONDS: Final = 5.0
_log = structlog.get_logger("fortress")


class Replacements(msgspec.Struct, frozen=True):
    """What a project puts in the place of ours."""

    errors: ErrorShape | None
    schemes: Callable[[Runtime], Sequence[Scheme]] | None
    mailer: Mailer | None
    clock: Clock
    ids: Ids
