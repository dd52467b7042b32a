"""Every route under a property-based fuzzer of the OpenAPI schema: no 5xx, and what it promises."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Response
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.draw_backend import draw_backend_of
from frenchcat.used_route import mount_used
from tests.index.service.served import make_dataset, served

EXAMPLES = 20  # a route
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, clip: Clip, run: Path) -> Iterator[TestClient]:
    cats = make_dataset(tmp_path_factory.mktemp("fuzz") / "cats", clip)
    colours = Dataset.open(run.parent / "dataset")
    allowed: dict[str, Any] = {"allow_remove": True, "remote_pictures": False, "draw_steps": 20}
    with served(cats, colours, clip=clip, draw_backend=draw_backend_of(run), **allowed) as client:
        mount_used(client.app)  # type: ignore[arg-type]
        yield client


def test_every_route(client: TestClient) -> None:
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 20
    assert "/v1/used" in {operation.path for operation in operations}
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def holds(case: Any) -> None:
            sent = case.as_transport_kwargs(base_url="http://testserver")
            sent.pop("cookies", None)
            if "data" in sent:
                sent["content"] = sent.pop("data")
            answer = client.request(**sent)
            case.validate_response(Response.from_httpx(answer, verify=False), checks=CHECKS)

        holds()
    assert "drawn_pictures_total 0.0" not in client.get("/metrics").text
