"""docs/cryptography.md lists what the code does; what must not be used is not there (ASVS V11.1.2, V11.2.4, V11.3.1, V11.4.1)."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "fortress"
INVENTORY = ROOT / "docs" / "cryptography.md"
# The suites that adapters must pass, and fakes, make keys that guard nothing.
MODULES = [path for path in sorted(SOURCE.rglob("*.py")) if "testing" not in path.relative_to(SOURCE).parts]
LIBRARIES = {"hashlib", "hmac", "secrets", "ssl", "cryptography", "joserfc", "argon2", "pyotp", "webauthn", "authlib"}
# Types, errors and clients: they compute nothing.
NOT_CRYPTOGRAPHY = re.compile(
    r"(Error|Exception|InvalidTag)$|^argon2\.(extract_parameters|exceptions)|^authlib\.integrations|^webauthn\.(?!verify_|generate_)"
)
FORBIDDEN = re.compile(
    r"\b(md5|sha1|MD5|SHA1|ECB|CBC|CFB|OFB|PKCS1v15|ARC4|RC4|RC2|Blowfish|TripleDES|DES3?|IDEA|CAST5|_create_unverified_context|CERT_NONE)\b"
)
DERIVING = {"secret", "secrets", "secret_by_id"}
SECRET_NAME = re.compile(r"(^|_)(digest|digests|mac|signature|secret|token|otp)$")


def bound_names(tree: ast.AST) -> dict[str, str]:
    """Names in a module, and what of a cryptographic library they stand for."""
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            bound |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names if alias.name.split(".")[0] in LIBRARIES}
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
            bound |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return bound


def short(name: str) -> str:
    """`cryptography.hazmat.primitives.ciphers.aead.AESGCM` as `cryptography.AESGCM`."""
    parts = name.split(".")
    return f"{parts[0]}.{parts[-1]}" if len(parts) > 1 else name


def used(tree: ast.AST) -> set[str]:
    """What a module takes from the cryptographic libraries, as `library.name`."""
    bound = bound_names(tree)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and bound.get(node.value.id) in LIBRARIES:
            found.add(f"{bound[node.value.id]}.{node.attr}")
        if isinstance(node, ast.Name) and node.id in bound and "." in bound[node.id]:
            found.add(short(bound[node.id]))
    return {name for name in found if not NOT_CRYPTOGRAPHY.search(name)}


def in_the_code() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        for name in used(ast.parse(path.read_text("utf-8"))):
            found[name].add(path.relative_to(SOURCE).with_suffix("").as_posix())
    return found


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading of the inventory."""
    section = INVENTORY.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def purposes(tree: ast.AST) -> Iterator[str]:
    """What keys are derived from the masters for."""
    constants = {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in DERIVING and node.args:
            given = node.args[0]
            if isinstance(given, ast.Constant):
                yield str(given.value)
            elif isinstance(given, ast.Name) and given.id in constants:
                yield constants[given.id]


def test_the_inventory_is_what_the_code_uses() -> None:
    listed = {quoted(name)[0]: set(quoted(where)) for name, where in rows("In the code")}
    assert listed == in_the_code()


def test_every_derived_key_is_in_the_inventory() -> None:
    listed = {quoted(row[0])[0] for row in rows("Keys derived from a master")}
    assert listed == {purpose for path in MODULES for purpose in purposes(ast.parse(path.read_text("utf-8")))}


@pytest.mark.parametrize("heading", ["Keys", "Algorithms"])
def test_the_inventory_says_each_thing_in_full(heading: str) -> None:
    assert len(rows(heading)) > 4
    assert all(all(cells) for cells in rows(heading))


def code(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Names and attributes, with their lines; no comments, no texts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        if isinstance(node, ast.alias):
            yield node.lineno, node.name


def harmless(tree: ast.AST) -> set[int]:
    """Lines that say themselves that their digest guards nothing."""
    return {
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "usedforsecurity" and isinstance(keyword.value, ast.Constant) and keyword.value.value is False
    }


def weak(text: str) -> list[int]:
    tree = ast.parse(text)
    return [line for line, name in code(tree) if FORBIDDEN.search(name) and line not in harmless(tree)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_weak_is_used(path: Path) -> None:
    """ASVS V11.3.1, V11.3.2, V11.4.1: no ECB, CBC alone, PKCS#1 v1.5, MD5 or SHA-1 where it guards something."""
    assert weak(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "import hashlib\nhashlib.md5(b'')",
        "from hashlib import sha1",
        "Cipher(algorithms.AES(key), modes.ECB())",
        "modes.CBC(iv)",
        "padding.PKCS1v15()",
        "context.verify_mode = ssl.CERT_NONE",
    ],
)
def test_what_is_weak_is_seen(text: str) -> None:
    assert weak(text)
    assert not weak("import hashlib\nhashlib.sha1(b'', usedforsecurity=False)")


def shown(node: ast.AST) -> str:
    """The last name of what is compared: `found.digest` is `digest`, and so is `digest(found)`, and `mac.hex()` is `mac`."""
    if isinstance(node, ast.Call):
        inner = node.func
        if isinstance(inner, ast.Attribute) and inner.attr in {"hex", "reveal", "encode", "get_secret_value"}:
            return shown(inner.value)
        return shown(inner)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def is_column(node: ast.AST) -> bool:
    """`User.c.token_hash`: the database looks digests up, whose comparison tells nothing of what they were made of."""
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "c"


def plainly_compared(text: str) -> list[int]:
    """Lines that compare something secret by `==` or `!=`; with a constant it is no comparison of two secrets."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare) and any(isinstance(how, ast.Eq | ast.NotEq) for how in node.ops):
            sides = [node.left, *node.comparators]
            if any(SECRET_NAME.search(shown(side)) for side in sides) and not any(
                isinstance(side, ast.Constant) or is_column(side) for side in sides
            ):
                found.append(node.lineno)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_secrets_are_compared_in_constant_time(path: Path) -> None:
    """ASVS V11.2.4: `hmac.compare_digest`, never `==`."""
    assert plainly_compared(path.read_text("utf-8")) == []


def test_a_plain_comparison_is_seen() -> None:
    compared = ("given == self.token", "mac(key) != found", "hmac.digest(a, b, 'sha256') == c", "found.digest == d", "mac.hex() == x")
    for text in compared:
        assert plainly_compared(text) == [1], text
    assert plainly_compared("hmac.compare_digest(given, self.token)\ntag == 'COMMIT'\nlen(secret) == SIZE\nUser.c.digest == digest") == []


def draws_lots(text: str) -> bool:
    return any(name == "random" for _, name in code(ast.parse(text)))


def test_what_must_not_be_guessed_comes_from_the_systems_generator() -> None:
    """ASVS V11.5.1: `random` spreads retries and refreshes, lets a test's faults happen again, and nothing else."""
    retries = {
        "limits/limiter",
        "data/bus",
        "data/retry",
        "data/migration/session",
        "retry",
        "events/jobs/worker",
        "domains/webhooks/service/courier",
    }
    spreading = {*retries, "cache/memory", "failpoints"}
    found = {path.relative_to(SOURCE).with_suffix("").as_posix() for path in MODULES if draws_lots(path.read_text("utf-8"))}
    assert found <= spreading
