from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from fortress.clock import FixedClock
from fortress.errors import CannotStart
from fortress.security.keyfile import FileKeys
from fortress.security.keymaterial import KeyMaterial, KeyState, RingContent, decode_ring, encode_ring
from fortress.security.keys import KeyRing, new_ring


def test_the_next_key_is_published_before_it_signs(ring: KeyRing) -> None:
    published = {key["kid"] for key in ring.jwks()["keys"]}
    signs = ring.signer().kid
    assert signs in published
    assert {ring.rotate()} == published - {signs}


def test_the_published_keys_hold_nothing_private(ring: KeyRing) -> None:
    for key in ring.jwks()["keys"]:
        assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}


def test_the_keys_are_listed_with_their_states(ring: KeyRing) -> None:
    old = ring.signer().kid
    new = ring.rotate()
    listed = [(key.state.value, key.kid) for key in ring.signing_keys()]
    assert [state for state, _ in listed] == ["active", "next", "retired"]
    assert (listed[0][1], listed[2][1]) == (new, old)


def test_a_retired_key_verifies_until_its_overlap_ends_and_leaves_the_published_ones(ring: KeyRing, clock: FixedClock) -> None:
    old = ring.signer().kid
    ring.rotate()
    clock.advance(timedelta(minutes=10, seconds=59))
    assert ring.verifier(old) is not None
    clock.advance(timedelta(seconds=1))
    assert ring.verifier(old) is None
    assert old not in {key["kid"] for key in ring.jwks()["keys"]}


def test_a_rotation_drops_keys_whose_overlap_has_ended(ring: KeyRing, keys: FileKeys, clock: FixedClock) -> None:
    for _ in range(5):
        ring.rotate()
        clock.advance(timedelta(minutes=11))
    assert len(keys.load().signing) == 3


def test_another_process_knows_a_new_key_at_once(ring: KeyRing, keys: FileKeys, clock: FixedClock) -> None:
    elsewhere = KeyRing(keys, clock)
    elsewhere.rotate()
    newest = elsewhere.rotate()
    found = ring.verifier(newest)
    assert found is not None
    assert found.kid == newest


def test_another_process_signs_with_the_new_key_within_five_seconds(ring: KeyRing, keys: FileKeys, clock: FixedClock) -> None:
    newest = KeyRing(keys, clock).rotate()
    clock.advance(timedelta(seconds=4.9))
    assert ring.signer().kid != newest
    clock.advance(timedelta(seconds=0.1))
    assert ring.signer().kid == newest


def test_a_flood_of_unknown_key_ids_loads_nothing(ring: KeyRing, clock: FixedClock) -> None:
    """FAULTS: an unknown `kid` flood causes at most one reload a minute."""
    for number in range(10_000):
        assert ring.verifier(f"made-up-{number}") is None
        assert ring.secret_by_id("refresh", number + 2) is None
        clock.advance(timedelta(milliseconds=6))
    assert ring.loads == 1


def test_a_flood_over_a_broken_file_tries_it_once_and_keeps_the_keys(ring: KeyRing, tmp_path: Path) -> None:
    signs = ring.signer().kid
    (tmp_path / "keyring.json").write_text("{")
    for number in range(1000):
        assert ring.verifier(f"made-up-{number}") is None
    assert (ring.loads, ring.failures) == (2, 1)
    assert ring.verifier(signs) is not None


def test_a_ring_that_is_gone_keeps_the_keys_and_counts_it(ring: KeyRing, tmp_path: Path) -> None:
    signs = ring.signer().kid
    (tmp_path / "keyring.json").unlink()
    assert ring.verifier("unknown") is None
    assert ring.verifier(signs) is not None
    assert ring.failures == 1


def test_an_explicit_reload_says_what_is_wrong(ring: KeyRing, tmp_path: Path) -> None:
    (tmp_path / "keyring.json").write_text("{")
    with pytest.raises(CannotStart, match="can't be read"):
        ring.reload()


def test_purposes_and_masters_give_different_keys(ring: KeyRing) -> None:
    first, other = ring.secret("refresh"), ring.secret("cursor")
    assert first.material != other.material
    assert len(first.material.reveal()) == 32
    ring.rotate_secrets()
    second = ring.secret("refresh")
    assert second.id == first.id + 1
    assert second.material != first.material


def test_a_derived_key_is_the_same_in_every_process(ring: KeyRing, keys: FileKeys, clock: FixedClock) -> None:
    assert ring.secret("refresh").material == KeyRing(keys, clock).secret("refresh").material


def test_an_old_master_is_found_by_its_id_and_a_new_one_of_another_process_too(ring: KeyRing, keys: FileKeys, clock: FixedClock) -> None:
    old = ring.secret("refresh")
    new = KeyRing(keys, clock).rotate_secrets()
    for id in (old.id, new):
        found = ring.secret_by_id("refresh", id)
        assert found is not None
        assert found.id == id
    assert [key.id for key in ring.secrets("refresh")] == [new, old.id]


def test_nothing_about_a_ring_shows_a_secret(ring: KeyRing, keys: FileKeys) -> None:
    content = keys.load()
    secrets = [record.seed.reveal() for record in content.signing] + [master.secret.reveal() for master in content.masters]
    secrets += [record.secret.reveal() for record in content.wrapping]
    shown = " ".join(
        map(repr, (content, *content.signing, *content.masters, *content.wrapping, ring, ring.signer(), ring.secret("refresh"), keys))
    )
    shown += repr([part.__rich_repr__() for part in (*content.signing, *content.masters, *content.wrapping)])
    assert not any(secret.hex() in shown or repr(secret)[2:-1] in shown for secret in secrets)
    assert "hidden" in shown


def test_key_material_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(KeyMaterial(b"secret"))


def test_a_ring_comes_back_from_its_file_form(clock: FixedClock) -> None:
    content = new_ring(clock.now())
    assert decode_ring(encode_ring(content)) == content


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "can't be read"),
        (b"{}", "can't be read"),
        (b"[1]", "can't be read"),
        (b"\xff", "can't be read"),
        (b'{"signing":[],"masters":[],"format":3}', "its format is 3"),
        (b'{"signing":[],"masters":[]}', "exactly one key must be active"),
        (b'{"signing":[],"masters":[],"more":1}', "can't be read"),
    ],
)
def test_what_is_not_a_ring_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(CannotStart, match=said):
        decode_ring(text)


def test_a_ring_with_a_fault_is_refused_by_name_and_without_secrets(clock: FixedClock) -> None:
    active, following = new_ring(clock.now()).signing
    master = new_ring(clock.now()).masters[0]
    wrapping = new_ring(clock.now()).wrapping
    changed = msgspec.structs.replace
    cases = {
        "must be active": RingContent(signing=(active, active.activated()), masters=(master,), wrapping=wrapping),
        "at most one next": RingContent(signing=(active, following, following), masters=(master,), wrapping=wrapping),
        "must be in use": RingContent(signing=(active,), masters=(), wrapping=wrapping),
        "appears twice": RingContent(signing=(active, active.retired(clock.now())), masters=(master,), wrapping=wrapping),
        "does not match its id": RingContent(signing=(changed(active, seed=following.seed),), masters=(master,), wrapping=wrapping),
        "32 bit id": RingContent(signing=(active,), masters=(changed(master, id=2**32),), wrapping=wrapping),
        "32 byte secret": RingContent(signing=(active,), masters=(changed(master, secret=KeyMaterial(b"short")),), wrapping=wrapping),
        "is not for EdDSA": RingContent(signing=(changed(active, alg="none"),), masters=(master,), wrapping=wrapping),
        "without an end": RingContent(signing=(active, changed(following, state=KeyState.RETIRED)), masters=(master,), wrapping=wrapping),
    }
    for said, content in cases.items():
        with pytest.raises(CannotStart, match=said):
            content.check()


def test_key_material_that_is_not_base64url_is_refused_without_being_shown(clock: FixedClock) -> None:
    text = encode_ring(new_ring(clock.now()))
    seed = text.partition(b'"seed": "')[2].partition(b'"')[0]
    with pytest.raises(CannotStart) as refused:
        decode_ring(text.replace(seed, seed[:-1] + b"!"))
    assert seed[:20].decode() not in str(refused.value)
