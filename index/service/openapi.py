"""The OpenAPI schema, made to say what FastAPI does not: keys, and the media type of problems."""

from __future__ import annotations

from typing import Any

from frenchcat.index.service.problems import MEDIA_TYPE

SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The key is the password, or the user's name.",
    },
}
"""The ways to send a key; a service without --api-key-file asks for none."""


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the ways to send a key, and problems as application/problem+json."""
    schema.setdefault("components", {})["securitySchemes"] = SECURITY
    schema["security"] = [*({name: []} for name in SECURITY), {}]
    for path in schema["paths"].values():
        for operation in path.values():
            for status, response in operation.get("responses", {}).items():
                content = response.get("content", {})
                if int(status) >= 400 and "application/json" in content:
                    response["content"] = {MEDIA_TYPE: content["application/json"]}
    return schema
