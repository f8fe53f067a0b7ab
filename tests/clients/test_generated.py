"""Typed clients made of the published document walk through the README against a real server."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from tests.faults.conftest import Serve
from tests.faults.harness.serving import ROOT, Server

from fortress import Fortress
from fortress.commands.openapi import as_text

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

HERE: Final = Path(__file__).parent
PYTHON: Final = HERE / "python"
TYPESCRIPT: Final = HERE / "typescript"
TOOLS: Final = ROOT / ".venv-clients"
VERSION: Final = 2


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve(workers=1)


@pytest.fixture(scope="module")
def document(app: Fortress, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is published, as a file."""
    path = tmp_path_factory.mktemp("document") / "api.json"
    path.write_bytes(as_text(app.document(VERSION)))
    return path


def run(command: Sequence[object], where: Path, *, missing: str = "", **environment: str) -> str:
    """What a command printed; the test is skipped, with the reason `missing`, where it fails for want of a package."""
    done = subprocess.run(
        [str(word) for word in command], cwd=where, env=os.environ | environment, capture_output=True, text=True, timeout=240
    )
    if done.returncode and missing:
        pytest.skip(f"{missing}: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def tools() -> Path:
    """The environment of the generator, made from its hashed lock unless it is there already."""
    lock, stamp = PYTHON / "requirements.txt", TOOLS / "lock.sha256"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text("ascii") != digest:
        uv = [sys.executable, "-m", "uv"]
        run([*uv, "venv", "--quiet", "--clear", "--python", Path(sys.executable).resolve(), TOOLS], ROOT)
        install = [*uv, "pip", "install", "--quiet", "--python", TOOLS / "bin" / "python", "--require-hashes", "-r", lock]
        run(install, ROOT, missing="the generator's packages can't be had")
        stamp.write_text(digest, "ascii")
    return TOOLS / "bin"


def test_python(server: Server, document: Path, tools: Path, tmp_path: Path) -> None:
    make = [tools / "openapi-python-client", "generate", "--path", document, "--output-path", tmp_path / "shop_client", "--meta", "none"]
    said = run(make, tmp_path, PATH=f"{tools}{os.pathsep}{os.environ['PATH']}")
    # Lines of JSON are read by hand, a batch at a time; everything else is in the client.
    assert re.findall(r"WARNING parsing (\S+ \S+)", said) == ["GET /orders/export"], said
    walk = [tools / "python", PYTHON / "walk.py", f"{server.url}/api/v{VERSION}"]
    assert run(walk, tmp_path, PYTHONPATH=str(tmp_path)) == "walked\n"


@pytest.fixture
def typescript(document: Path, tmp_path: Path) -> Path:
    """A project with the walk and the types made of the document."""
    if shutil.which("npm") is None:
        pytest.skip("there is no node and npm here")
    where = tmp_path / "client"
    shutil.copytree(TYPESCRIPT, where)
    run(["npm", "ci", "--no-fund", "--no-audit", "--ignore-scripts"], where, missing="npm can't have the packages")
    # What has a default may be left out; the generator takes it for what is always there, which is true of answers only.
    run(["npx", "--no-install", "openapi-typescript", document, "-o", "api.d.ts", "--default-non-nullable=false"], where)
    return where


def test_typescript(server: Server, typescript: Path) -> None:
    run(["npx", "--no-install", "tsc"], typescript)
    assert run(["node", "built/walk.js", f"{server.url}/api/v{VERSION}"], typescript) == "walked\n"


def test_a_body_that_the_document_does_not_allow_does_not_compile(typescript: Path) -> None:
    walk = typescript / "walk.ts"
    walk.write_text(walk.read_text("utf-8").replace("quantity: 2", 'quantity: "two"'), "utf-8")
    done = subprocess.run(["npx", "--no-install", "tsc", "--noEmit"], cwd=typescript, capture_output=True, text=True, timeout=240)
    assert "Type 'string' is not assignable to type 'number'" in done.stdout


def test_the_guides_typescript_compiles_and_buys(server: Server, typescript: Path) -> None:
    (snippet,) = re.findall(r"```ts\n(.*?)```", (ROOT / "docs" / "guide-clients.md").read_text("utf-8"), re.DOTALL)
    base = f"{server.url}/api/v{VERSION}"
    buyer = {"email": "guide@example.com", "password": "a long enough phrase", "age": 30}
    (typescript / "buy.ts").write_text(snippet.replace("http://127.0.0.1:8000/api/v2", base), "utf-8")
    (typescript / "walk.ts").write_text(
        f"""import {{ buy }} from "./buy.js";
const headers = {{ "content-type": "application/json" }};
await fetch("{base}/users", {{ method: "POST", headers, body: {json.dumps(json.dumps(buyer))} }});
console.log((await buy("{buyer["email"]}", "{buyer["password"]}", "TEA-GREEN")).length);
""",
        "utf-8",
    )
    run(["npx", "--no-install", "tsc"], typescript)
    assert run(["node", "built/walk.js"], typescript) == "36\n"


def test_the_guides_python_runs(server: Server, document: Path, tools: Path, tmp_path: Path) -> None:
    make = [tools / "openapi-python-client", "generate", "--path", document, "--output-path", tmp_path / "shop_client", "--meta", "none"]
    run(make, tmp_path, PATH=f"{tools}{os.pathsep}{os.environ['PATH']}")
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "guide-clients.md").read_text("utf-8"), re.DOTALL)
    base, sign_up = f"{server.url}/api/v{VERSION}", "from shop_client.api.identity import sign_up\nfrom shop_client.models import SignUp\n"
    sign_up += f"sign_up.sync(client=Client(base_url={base!r}), body=SignUp('ann@example.com', 'a long enough phrase', 30))\n"
    text = snippet.replace('server = "http://127.0.0.1:8000/api/v2"', f"server = {base!r}\n{sign_up}") + "print(type(orders).__name__)\n"
    (tmp_path / "guide.py").write_text(text, "utf-8")
    assert run([tools / "python", "guide.py"], tmp_path, PYTHONPATH=str(tmp_path)) == "PageOrder\n"


def test_no_lock_names_where_packages_come_from() -> None:
    text = (TYPESCRIPT / "package-lock.json").read_text("utf-8") + (PYTHON / "requirements.txt").read_text("utf-8")
    assert not re.search(r"resolved|https?://|index-url", text)
