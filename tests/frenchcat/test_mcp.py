"""The tools of the Model Context Protocol, asked by the SDK's own client; compared with /v1."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi.testclient import TestClient
from mcp.client.client import Client
from PIL import Image

from frenchcat.curate.clip.model import Clip, load_clip
from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.dataset import Dataset
from frenchcat.index.service.app import create_app
from frenchcat.index.service.settings import ServeSettings
from frenchcat.mcp_server import mcp_server_of, mount
from tests.index.service.served import CAPTIONS, make_dataset

KEY = "a-key-of-sixteen-characters"
HARMLESS = {"info", "search", "rows", "row", "picture", "facets", "propose_selection"}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return load_clip(ClipSettings())


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory, clip: Clip) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("mcp") / "cats", clip)


def value(result: Any) -> Any:
    assert not result.is_error, result.content
    return result.structured_content or json.loads(result.content[0].text)


def test_the_tools_give_what_v1_gives_and_change_nothing(cats: Dataset, clip: Clip) -> None:
    app = create_app([cats], ServeSettings(preload=False, condition_sec=60), clip)

    async def asked() -> dict[str, Any]:
        found: dict[str, Any] = {}
        async with app.router.lifespan_context(app), Client(mcp_server_of(app, "cats")) as client:
            found["tools"] = {tool.name for tool in (await client.list_tools()).tools}
            found["search"] = value(await client.call_tool("search", {"text": "a dog", "k": 2}))
            picture = await client.call_tool("picture", {"key": "000000001", "size": 64})
            found["picture"] = picture.content[0]
            data = base64.b64encode(base64.b64decode(picture.content[0].data)).decode()
            found["by_picture"] = value(await client.call_tool("search", {"picture": data}))
            found["row"] = value(await client.call_tool("row", {"key": "000000001"}))
            found["info"] = value(await client.call_tool("info", {}))
            facets = {"columns": ["width"]}
            found["facets"] = value(await client.call_tool("facets", facets))
            where = {"where": "caption like '%cat%'"}
            found["proposed"] = value(await client.call_tool("propose_selection", where))
            found["wrong"] = await client.call_tool("rows", {"where": "widht > 1"})
            found["two"] = await client.call_tool("search", {"text": "a", "like": "b"})
        return found

    found = anyio.run(asked)
    assert found["tools"] == HARMLESS
    assert found["search"]["rows"][0]["caption"] == CAPTIONS[1]
    assert len(found["search"]["rows"]) == 2
    assert set(found["search"]["rows"][0]) <= {
        *("key", "similarity", "caption", "url", "width", "height", "reason")
    }
    assert len(found["by_picture"]["rows"]) == 5
    picture = Image.open(io.BytesIO(base64.b64decode(found["picture"].data)))
    assert (picture.format, max(picture.size) <= 64) == ("JPEG", True)
    assert found["row"]["caption"] == CAPTIONS[1]
    assert (found["info"]["rows"], "caption" in found["info"]["columns"]) == (8, True)
    assert found["facets"]["facets"]["width"]["rows"] == 8
    assert found["proposed"]["rows"] == sum("cat" in text for text in CAPTIONS)
    for name, said in (("wrong", "'widht'"), ("two", "exactly one")):
        assert found[name].is_error
        assert said in found[name].content[0].text
    assert not cats.files("selections")


def test_over_http_the_services_keys_count(cats: Dataset, clip: Clip, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    settings = ServeSettings(preload=False, api_key_file=str(keys), hosts=("testserver",))
    app = create_app([cats], settings, clip)
    mount(app)
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    sent = {"Accept": "application/json, text/event-stream", "X-API-Key": KEY}
    with TestClient(app) as client:
        assert client.post("/mcp", json=body).status_code == 401
        assert client.post("/mcp", json=body, headers={**sent, "Host": "a.b"}).status_code == 403
        answer = client.post("/mcp", json=body, headers=sent)
        assert answer.status_code == 200
        names = {tool["name"] for tool in answer.json()["result"]["tools"]}
        assert names == HARMLESS | {"make_selection"}  # with keys, as in /v1
        call = {"name": "search", "arguments": {"text": "a dog", "k": 1}}
        body |= {"method": "tools/call", "params": call}
        result = client.post("/mcp", json=body, headers=sent).json()["result"]
        assert result["structuredContent"]["rows"][0]["caption"] == CAPTIONS[1]
        assert client.get("/v1/datasets", headers={"X-Frenchcat-Own": "x"}).status_code == 401
