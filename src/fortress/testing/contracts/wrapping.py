"""What every Wrapping must do.

    class TestMyService(WrappingContract):
        @pytest.fixture
        async def wrapping(self) -> AsyncIterator[Wrapping]: ...

The other fixtures work on what is behind it: `rotate` has it wrap with another key, `destroy` ends what opens a key id,
`foreign` is a key that was wrapped for CONTEXT by somebody else's key, under an id that looks like ours.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import pytest

from fortress.security.wrapping import Unreadable, WrappedKey, Wrapping

Rotate = Callable[[], Awaitable[None]]
Destroy = Callable[[str], Awaitable[None]]

CONTEXT: Final = b"people/1"
AT_ONCE: Final = 20


async def refused(wrapping: Wrapping, wrapped: WrappedKey, context: bytes = CONTEXT) -> bool:
    """Is it unreadable, and does the error tell nothing?"""
    with pytest.raises(Unreadable) as found:
        await wrapping.unwrap(wrapped, context)
    return str(found.value) == str(Unreadable())


class WrappingContract:
    """Subclasses give the fixtures `wrapping`, `rotate`, `destroy` and `foreign`."""

    @pytest.fixture
    def key(self) -> bytes:
        return secrets.token_bytes(32)

    @pytest.mark.parametrize("size", [1, 16, 32, 1024])
    async def test_what_is_wrapped_comes_back(self, wrapping: Wrapping, size: int) -> None:
        key = secrets.token_bytes(size)
        wrapped = await wrapping.wrap(key, CONTEXT)
        assert await wrapping.unwrap(wrapped, CONTEXT) == key
        assert wrapped.key_id == wrapping.current
        assert size < 16 or key not in wrapped.blob

    async def test_the_same_key_is_wrapped_differently_each_time(self, wrapping: Wrapping, key: bytes) -> None:
        """ASVS V11.3.4: no nonce comes twice."""
        blobs = {(await wrapping.wrap(key, CONTEXT)).blob for _ in range(AT_ONCE)}
        assert len(blobs) == AT_ONCE

    async def test_many_at_once_are_not_mixed_up(self, wrapping: Wrapping) -> None:
        async def there_and_back(number: int) -> bool:
            key, context = secrets.token_bytes(32), b"people/%d" % number
            return await wrapping.unwrap(await wrapping.wrap(key, context), context) == key

        assert all(await asyncio.gather(*map(there_and_back, range(AT_ONCE))))

    @pytest.mark.parametrize("elsewhere", [b"", b"people/2", b"people/1 ", b"\x00people/1", b"people/" + bytes(2000)])
    async def test_a_wrapped_key_that_was_moved_is_refused(self, wrapping: Wrapping, key: bytes, elsewhere: bytes) -> None:
        assert await refused(wrapping, await wrapping.wrap(key, CONTEXT), elsewhere)

    async def test_a_wrapped_key_with_a_flipped_byte_is_refused(self, wrapping: Wrapping, key: bytes) -> None:
        """ASVS V11.3.3, V11.2.5: each byte counts, and each refusal says the same."""
        wrapped = await wrapping.wrap(key, CONTEXT)
        for place in range(len(wrapped.blob)):
            flipped = bytearray(wrapped.blob)
            flipped[place] ^= 0x10
            assert await refused(wrapping, msgspec.structs.replace(wrapped, blob=bytes(flipped))), place

    async def test_a_wrapped_key_that_is_cut_or_longer_is_refused(self, wrapping: Wrapping, key: bytes) -> None:
        wrapped = await wrapping.wrap(key, CONTEXT)
        for blob in (b"", wrapped.blob[:1], wrapped.blob[:20], wrapped.blob[:-1], wrapped.blob + b"\x00", bytes(20_000)):
            assert await refused(wrapping, WrappedKey(wrapped.key_id, blob)), len(blob)

    async def test_a_key_id_that_is_not_ours_is_refused(self, wrapping: Wrapping, key: bytes) -> None:
        wrapped = await wrapping.wrap(key, CONTEXT)
        for id in ("", "ring:", "ring", "ring:0000000000000000", "none:1", wrapped.key_id[:-1], wrapped.key_id + "0", "vault:a/b:v1"):
            assert await refused(wrapping, WrappedKey(id, wrapped.blob)), id

    async def test_a_foreign_key_is_refused(self, wrapping: Wrapping, foreign: WrappedKey) -> None:
        assert await refused(wrapping, foreign)

    async def test_after_a_rotation_the_new_key_wraps_and_the_old_one_still_unwraps(
        self, wrapping: Wrapping, key: bytes, rotate: Rotate
    ) -> None:
        """ASVS V11.2.2."""
        before = await wrapping.wrap(key, CONTEXT)
        await rotate()
        after = await wrapping.wrap(key, CONTEXT)
        assert before.key_id != after.key_id == wrapping.current
        assert await wrapping.unwrap(before, CONTEXT) == await wrapping.unwrap(after, CONTEXT) == key
        assert await refused(wrapping, WrappedKey(after.key_id, before.blob))
        assert await refused(wrapping, WrappedKey(before.key_id, after.blob))

    async def test_what_a_destroyed_key_wrapped_is_refused_and_the_rest_is_not(
        self, wrapping: Wrapping, key: bytes, rotate: Rotate, destroy: Destroy
    ) -> None:
        before = await wrapping.wrap(key, CONTEXT)
        await rotate()
        after = await wrapping.wrap(key, CONTEXT)
        await destroy(before.key_id)
        assert await refused(wrapping, before)
        assert await wrapping.unwrap(after, CONTEXT) == key

    async def test_nothing_that_is_shown_holds_a_key(self, wrapping: Wrapping, key: bytes, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG", "fortress")
        wrapped = await wrapping.wrap(key, CONTEXT)
        await refused(wrapping, wrapped, b"elsewhere")
        shown = f"{wrapping!r} {wrapped!r} {wrapped.__rich_repr__()} {caplog.text}"
        for secret in (key, wrapped.blob):
            assert secret.hex() not in shown
            assert repr(secret)[2:-1] not in shown
