"""How schemathesis signs in: once for most operations, each time for those that end sessions."""

from __future__ import annotations

import json
import os
import urllib.request
from typing import Any

import schemathesis


class Session:
    """Signs the administrator in."""

    def get(self, case: schemathesis.Case[Any], context: schemathesis.AuthContext) -> str:
        person = {"email": os.environ["SUBJECT_EMAIL"], "password": os.environ["SUBJECT_PASSWORD"]}
        url = f"{os.environ['SUBJECT_URL']}/api/v1/auth/login"
        request = urllib.request.Request(url, json.dumps(person).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return str(json.load(answer)["access_token"])

    def set(self, case: schemathesis.Case[Any], data: Any, context: schemathesis.AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.auth().apply_to(path_regex="^(?!/auth/logout|/users/me/sessions)")
class Lasting(Session):
    """One session for the whole run."""


@schemathesis.auth(refresh_interval=None).apply_to(path_regex="^/(auth/logout|users/me/sessions)")
class Fresh(Session):
    """A session for each request."""


@schemathesis.hook
def before_load_schema(context: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """What is sparse may lack any field where the request said so; what it holds then is looked at in tests/http."""
    for path in raw_schema["paths"].values():
        for operation in path.values():
            for answer in operation["responses"].values():
                for content in answer.get("content", {}).values():
                    if content.get("x-sparse"):
                        content["schema"] = {"type": "object"}
