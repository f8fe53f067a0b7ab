"""Keys that the ring's own wrap, and several kinds of wrapping in one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from fortress.clock import FixedClock
from fortress.errors import CannotStart
from fortress.security.encoding import framed
from fortress.security.keyfile import FileKeys, open_keyring
from fortress.security.keymaterial import KeyState, RingContent, decode_ring, encode_ring, new_wrapping
from fortress.security.keys import KeyRing, new_ring
from fortress.security.wrapping import RingWrapping, Unreadable, WrappedKey
from fortress.security.wrappings import Wrappings, open_wrapping
from fortress.settings import Settings
from fortress.testing.contracts.wrapping import CONTEXT, Destroy, Rotate, WrappingContract


class TestRingWrapping(WrappingContract):
    @pytest.fixture
    def wrapping(self, ring: KeyRing) -> RingWrapping:
        return RingWrapping(ring)

    @pytest.fixture
    def rotate(self, ring: KeyRing) -> Rotate:
        async def rotate() -> None:
            ring.rotate_wrapping()

        return rotate

    @pytest.fixture
    def destroy(self, ring: KeyRing) -> Destroy:
        async def destroy(key_id: str) -> None:
            assert ring.destroy_wrapping([key_id.removeprefix("ring:")])

        return destroy

    @pytest.fixture
    async def foreign(self, ring: KeyRing, clock: FixedClock, tmp_path: Path) -> WrappedKey:
        elsewhere = FileKeys(tmp_path / "elsewhere.json")
        elsewhere.ensure(lambda: new_ring(clock.now()))
        wrapped = await RingWrapping(KeyRing(elsewhere, clock)).wrap(b"theirs", CONTEXT)
        return WrappedKey(RingWrapping(ring).current, wrapped.blob)


class TestSeveralInOne(TestRingWrapping):
    """The first of them wraps; that there are others changes nothing."""

    @pytest.fixture
    def wrapping(self, ring: KeyRing, clock: FixedClock, tmp_path: Path) -> Wrappings:
        return Wrappings([RingWrapping(ring), RingWrapping(another_ring(tmp_path / "older", clock))])


def another_ring(path: Path, clock: FixedClock) -> KeyRing:
    keys = FileKeys(path)
    keys.ensure(lambda: new_ring(clock.now()))
    return KeyRing(keys, clock)


def without_wrapping(content: RingContent) -> RingContent:
    """As a release before the wrapping keys wrote it."""
    return msgspec.structs.replace(content, wrapping=(), format=1)


def older_file(path: Path, clock: FixedClock) -> None:
    text = msgspec.json.decode(encode_ring(new_ring(clock.now())))
    del text["wrapping"]
    path.write_bytes(msgspec.json.encode(text | {"format": 1}))
    path.chmod(0o600)


async def test_what_the_first_does_not_know_the_next_one_opens(ring: KeyRing, clock: FixedClock, tmp_path: Path) -> None:
    before = another_ring(tmp_path / "before", clock)
    wrapped = await RingWrapping(before).wrap(b"secret", CONTEXT)
    both = Wrappings([RingWrapping(ring), RingWrapping(before)])
    assert await both.unwrap(wrapped, CONTEXT) == b"secret"
    assert (await both.wrap(b"secret", CONTEXT)).key_id == RingWrapping(ring).current


async def test_another_process_opens_at_once_what_a_new_key_wrapped(ring: KeyRing, keys: FileKeys, clock: FixedClock) -> None:
    reader, elsewhere = RingWrapping(ring), KeyRing(keys, clock)
    elsewhere.rotate_wrapping()
    assert await reader.unwrap(await RingWrapping(elsewhere).wrap(b"secret", CONTEXT), CONTEXT) == b"secret"


async def test_another_process_wraps_with_a_new_key_within_five_seconds(ring: KeyRing, keys: FileKeys, clock: FixedClock) -> None:
    elsewhere = RingWrapping(ring)
    KeyRing(keys, clock).rotate_wrapping()
    before = elsewhere.current
    clock.advance(timedelta(seconds=5))
    assert elsewhere.current != before


def test_the_key_in_use_is_not_destroyed(ring: KeyRing) -> None:
    id = ring.wrapping_keys()[0].id
    with pytest.raises(CannotStart, match="key that wraps can't be destroyed"):
        ring.destroy_wrapping([id])
    assert ring.wrapping_key(id) is not None


def test_a_key_that_another_process_put_in_use_is_not_destroyed(ring: KeyRing, keys: FileKeys, clock: FixedClock) -> None:
    fresh = KeyRing(keys, clock).rotate_wrapping()
    with pytest.raises(CannotStart, match="key that wraps can't be destroyed"):
        ring.destroy_wrapping([fresh])
    assert [record.id for record in keys.load().wrapping if record.state is KeyState.ACTIVE] == [fresh]


async def test_a_ring_copied_before_a_prepared_key_wraps_opens_what_it_wrapped(
    ring: KeyRing, keys: FileKeys, clock: FixedClock, tmp_path: Path
) -> None:
    prepared = ring.prepare_wrapping()
    assert ring.prepare_wrapping() == prepared
    assert ring.wrapping_keys()[0].id != prepared
    (tmp_path / "copied.json").write_bytes((tmp_path / "keyring.json").read_bytes())
    (tmp_path / "copied.json").chmod(0o600)
    other_host = RingWrapping(KeyRing(FileKeys(tmp_path / "copied.json"), clock))
    assert ring.rotate_wrapping() == prepared
    wrapped = await RingWrapping(ring).wrap(b"secret", CONTEXT)
    assert wrapped.key_id == f"ring:{prepared}"
    assert await other_host.unwrap(wrapped, CONTEXT) == b"secret"
    assert await RingWrapping(ring).unwrap(await other_host.wrap(b"secret", CONTEXT), CONTEXT) == b"secret"


def test_a_prepared_key_is_not_destroyed(ring: KeyRing) -> None:
    with pytest.raises(CannotStart, match="can't be destroyed"):
        ring.destroy_wrapping([ring.prepare_wrapping()])


def test_wrapping_keys_outlive_every_overlap(ring: KeyRing, clock: FixedClock) -> None:
    old = ring.wrapping_keys()[0].id
    ring.rotate_wrapping()
    clock.advance(timedelta(days=4000))
    ring.rotate()
    ring.rotate_secrets()
    assert ring.wrapping_key(old) is not None


def test_a_ring_of_an_older_release_is_read_and_gets_its_key_at_the_next_change(clock: FixedClock, tmp_path: Path) -> None:
    older_file(tmp_path / "ring.json", clock)
    ring = KeyRing(FileKeys(tmp_path / "ring.json"), clock)
    signs = ring.signer().kid
    with pytest.raises(CannotStart, match="older release") as refused:
        RingWrapping(ring)
    assert refused.value.hint == "fortress keys upgrade"
    ring.upgrade()
    assert len(ring.wrapping_keys()) == 1
    assert ring.signer().kid == signs
    ring.upgrade()
    assert len(decode_ring((tmp_path / "ring.json").read_bytes()).wrapping) == 1


def test_a_rotation_of_an_older_ring_leaves_one_key_that_wraps(clock: FixedClock, tmp_path: Path) -> None:
    older_file(tmp_path / "ring.json", clock)
    ring = KeyRing(FileKeys(tmp_path / "ring.json"), clock)
    ring.rotate()
    assert [record.state.value for record in ring.wrapping_keys()] == ["active"]


def test_development_upgrades_its_ring_by_itself_and_a_named_one_waits_for_the_command(clock: FixedClock, tmp_path: Path) -> None:
    older_file(tmp_path / "keyring.json", clock)
    named = Settings.model_validate({"keyring": str(tmp_path / "keyring.json")})
    assert open_keyring(named, clock).wrapping_keys() == []
    assert len(open_keyring(Settings.model_validate({"state_dir": tmp_path}), clock).wrapping_keys()) == 1


def test_a_ring_with_a_wrong_wrapping_key_is_refused_by_name(clock: FixedClock) -> None:
    content = new_ring(clock.now())
    (key,) = content.wrapping
    changed = msgspec.structs.replace
    cases = {
        "exactly one key must wrap": content.with_wrapping(()),
        "at most one be next": content.with_wrapping((key, new_wrapping(clock.now()), new_wrapping(clock.now()))),
        "one key must wrap": content.with_wrapping((key, changed(key, id="0" * 16))),
        "appears twice": content.with_wrapping((key, key.retire(clock.now()))),
        "32 byte secret": content.with_wrapping((changed(key, secret=content.signing[0].seed.__class__(b"short")),)),
        "hexadecimal": content.with_wrapping((changed(key, id="../../etc"),)),
    }
    for said, wrong in cases.items():
        with pytest.raises(CannotStart, match=said):
            wrong.check()
    without_wrapping(content).check()


def test_frames_keep_their_parts_apart() -> None:
    assert len({framed(b"ab", b"c"), framed(b"a", b"bc"), framed(b"abc"), framed(b"abc", b""), framed(b"", b"abc")}) == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gcpkms:projects/x", "names no key"),
        ("ring:mine", "names no key"),
        ("awskms:", "names no key"),
        ("awskms:alias/fortress", "key of KMS is"),
        ("awskms:0000-11", "key of KMS is"),
        ("awskms:alias/x?region=eu-central-1&profile=me", "names no key"),
        ("awskms:alias/x?region=eu-central-1&endpoint=http://kms.example", "reached by https"),
        ("ring,awskms:alias/x?region=eu-central-1", "named by its ARN"),
        ("vault:https://vault.example", "Transit key is"),
        ("vault:https://vault.example/transit", "Transit key is"),
        ("vault:http://vault.example/transit/fortress", "reached by https"),
        ("vault:https://me:secret@vault.example/transit/fortress", "no credentials"),
        ("vault:ftp://127.0.0.1/transit/fortress", "reached by https"),
    ],
)
async def test_a_setting_that_names_no_key_stops_the_start(ring: KeyRing, text: str, said: str) -> None:
    settings = Settings.model_validate({"wrapping_key": text})
    with pytest.raises(CannotStart, match=said) as refused:
        async with open_wrapping(settings, ring):
            raise AssertionError
    assert "secret" not in refused.value.problem


async def test_by_default_the_ring_wraps(ring: KeyRing) -> None:
    async with open_wrapping(Settings(), ring) as wrapping:
        assert wrapping.current == RingWrapping(ring).current


async def test_a_ring_of_an_older_release_stops_the_start_where_the_ring_wraps(clock: FixedClock, tmp_path: Path) -> None:
    older_file(tmp_path / "ring.json", clock)
    with pytest.raises(CannotStart, match="older release"):
        async with open_wrapping(Settings(), KeyRing(FileKeys(tmp_path / "ring.json"), clock)):
            raise AssertionError


def test_unreadable_says_one_thing() -> None:
    assert str(Unreadable()) == "what is kept can't be read"
