"""The specification of Comfy API v2, and whether an answer keeps to it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from tests.support.gateway import Answer

FILE = Path(__file__).parents[1] / "data" / "comfy_api_v2.openapi.yaml"


@cache
def specification() -> dict[str, Any]:
    """The file, with `nullable` as JSON Schema says it."""
    loaded = _plain(yaml.safe_load(FILE.read_text(encoding="utf-8")))
    assert isinstance(loaded, dict)
    return loaded


def _plain(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_plain(each) for each in tree]
    if not isinstance(tree, dict):
        return tree
    plain = {key: _plain(value) for key, value in tree.items() if key != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if tree.get("nullable") is True else plain


def errors_in(schema: str, value: Any) -> list[str]:
    """In which way a value is none of that schema."""
    whole = {"$ref": f"#/components/schemas/{schema}", "components": specification()["components"]}
    return [error.message for error in Draft202012Validator(whole).iter_errors(value)]


def broken_promises(method: str, path: str, answer: Answer) -> list[str]:
    """In which way an answer of a call is not one that the specification has."""
    name = next((each for each in specification()["paths"] if _matches(each, path)), None)
    if name is None:
        return [f"there is no path {path}"]
    call = specification()["paths"][name].get(method.lower())
    if call is None:  # lists came after the published file: the client's own reading is what there is
        return [] if (method, name) == ("GET", "/api/v2/jobs") else [f"there is no {method} {name}"]
    responses = call["responses"]
    response = responses.get(str(answer.status))
    if response is None:
        return [f"{method} {name} answers no {answer.status}; {sorted(responses)}"]
    if "$ref" in response:
        response = specification()["components"]["responses"][response["$ref"].rpartition("/")[2]]
    schema = response.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref")
    wanted = answer.status == 429 and "Retry-After" in response.get("headers", {})
    wanted = answer.status == 429 and "Retry-After" in response.get("headers", {})
    found = ["no Retry-After"] if wanted and answer.headers["Retry-After"] is None else []
    return found + (errors_in(schema.rpartition("/")[2], answer.json) if schema else [])


def _matches(template: str, path: str) -> bool:
    pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
    return re.fullmatch(pattern, path.partition("?")[0]) is not None
