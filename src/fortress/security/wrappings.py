"""Which keys wrap: those that FORTRESS_WRAPPING_KEY names, proved before anything depends on them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from urllib.parse import parse_qsl

from pydantic import SecretStr

from fortress.errors import CannotStart, Unavailable
from fortress.security.keys import KeyRing
from fortress.security.keyservice import PATIENCE, Patience
from fortress.security.wrapping import RING, RingWrapping, Unreadable, WrappedKey, Wrapping
from fortress.security.wrapping_aws import ALIAS, AWS, kms_key, open_kms
from fortress.security.wrapping_vault import VAULT, open_vault, transit_key
from fortress.settings import Settings

_OPTIONS: Final = {RING: set[str](), AWS: {"region", "endpoint"}, VAULT: {"namespace"}}
_PROBE: Final = b"fortress/probe"
_ELSEWHERE: Final = b"fortress/probe of another place"
_PROBE_BYTES: Final = 32


class Wrappings:
    """The first wraps; all of them unwrap, so that data moves from one to the other while it is in use.

    Args:
        known: in the order of the setting.
    """

    def __init__(self, known: Sequence[Wrapping]) -> None:
        self._known = tuple(known)

    def __repr__(self) -> str:
        return f"Wrappings({', '.join(map(repr, self._known))})"

    @property
    def current(self) -> str:
        return self._known[0].current

    async def wrap(self, key: bytes, context: bytes) -> WrappedKey:
        return await self._known[0].wrap(key, context)

    async def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """As the port says. One that does not know the key id says so without asking anybody, and the next is tried."""
        for wrapping in self._known:
            try:
                return await wrapping.unwrap(wrapped, context)
            except Unreadable:
                continue
        raise Unreadable


@asynccontextmanager
async def open_wrapping(settings: Settings, ring: KeyRing, patience: Patience = PATIENCE) -> AsyncIterator[Wrapping]:
    """What wraps keys, by the settings; the ring always unwraps its own.

    Raises:
        CannotStart: the setting is wrong, an extra is missing, a key service is away or does not bind keys to their context, or
            the ring is of an older release.
    """
    named = settings.wrapping_key or (RING,)
    if any(text.startswith(f"{AWS}:{ALIAS}") for text in named[1:]):
        raise CannotStart(
            "FORTRESS_WRAPPING_KEY: a key of KMS that only unwraps is named by its ARN", hint="an alias may point elsewhere by now"
        )
    async with AsyncExitStack() as stack:
        found = [await _opened(stack, text, ring, settings.vault_token, patience) for text in named]
        if named[0] != RING:
            await prove(found[0], named[0].partition(":")[0])
        if RING not in named and ring.wrapping_keys():
            found.append(RingWrapping(ring))
        yield Wrappings(found) if len(found) > 1 else found[0]


async def _opened(stack: AsyncExitStack, text: str, ring: KeyRing, token: SecretStr | None, patience: Patience) -> Wrapping:
    kind, rest, options = _parts(text)
    if kind == RING:
        return RingWrapping(ring)
    if kind == AWS:
        return await stack.enter_async_context(open_kms(kms_key(rest, **options), patience))
    return await stack.enter_async_context(open_vault(transit_key(rest, **options), token, patience))


async def prove(wrapping: Wrapping, kind: str) -> None:
    """Wrap and unwrap a key of no value; it also learns the id of the key that wraps.

    Raises:
        CannotStart: it can't, or a wrapped key opens with another context.
    """
    probe = secrets.token_bytes(_PROBE_BYTES)
    try:
        wrapped = await wrapping.wrap(probe, _PROBE)
        same = secrets.compare_digest(await wrapping.unwrap(wrapped, _PROBE), probe)
        moved = await _opens(wrapping, wrapped, _ELSEWHERE)
    except Unavailable as error:
        raise CannotStart(f"the key service {kind} can't be used: {error.__cause__}", hint="is FORTRESS_WRAPPING_KEY right?") from None
    except Unreadable:
        same = moved = False
    if moved or not same:
        raise CannotStart(
            f"the key service {kind} does not " + ("bind a wrapped key to its context" if moved else "give back what it wrapped"),
            hint="a Transit key is made with derived=true" if kind == VAULT else "",
        )


async def _opens(wrapping: Wrapping, wrapped: WrappedKey, context: bytes) -> bool:
    try:
        await wrapping.unwrap(wrapped, context)
    except Unreadable:
        return False
    return True


def _parts(text: str) -> tuple[str, str, dict[str, str]]:
    kind, _, rest = text.partition(":")
    rest, _, query = rest.partition("?")
    options = dict(parse_qsl(query))
    if kind not in _OPTIONS or options.keys() - _OPTIONS[kind] or (kind == RING) == bool(rest):
        raise CannotStart(
            "FORTRESS_WRAPPING_KEY names no key that can wrap",
            hint="ring, awskms:<ARN>[?endpoint=…], awskms:alias/<name>?region=…, vault:https://host/mount/name[?namespace=…]",
        )
    return kind, rest, options
