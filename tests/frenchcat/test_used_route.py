"""/v1/used: the verb's answer over HTTP, behind the service's keys, before the page's files."""

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import frenchcat
from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NotFound
from frenchcat.curate.select import Choice, select
from frenchcat.index.service.app import create_app
from frenchcat.index.service.settings import ServeSettings
from frenchcat.used_route import mount_used
from tests.index.service.live import live
from tests.train.embedded_run import make_dataset, mini, train_on_selection


@pytest.fixture(scope="module")
def clip() -> Clip:
    return mini()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, clip: Clip) -> Dataset:
    made = make_dataset(tmp_path_factory.mktemp("used-route") / "d", clip)
    select(made, "few", Choice(where="key < '000000003'"))
    return made


def client(dataset: Dataset, clip: Clip, **settings: object) -> TestClient:
    app = create_app([dataset], ServeSettings(preload=False, **settings), clip)  # type: ignore[arg-type]
    mount_used(app)
    return TestClient(app, base_url="http://127.0.0.1")


def test_the_answer_is_that_of_the_verb(dataset: Dataset, clip: Clip) -> None:
    opened = frenchcat.open(dataset.root)
    with client(dataset, clip) as asked:
        assert asked.get("/config.json").json()["frenchcat"]["mayAskUsed"] is True
        found = asked.post("/v1/used", json={"by": "creator", "value": "Painter 2"}).json()
        assert [row["key"] for row in found["rows"]] == ["000000002"]
        assert (found["total"], found["selections"], found["runs"]) == (1, {"few": 1}, [])
        url = opened.rows(["url"]).to_pylist()[7]["url"]
        found = asked.post("/v1/used", json={"by": "url", "value": url}).json()
        assert ([row["key"] for row in found["rows"]], found["selections"]) == (["000000007"], {})
        stored = base64.b64encode(opened.picture_bytes("000000001")).decode()
        found = asked.post("/v1/used", json={"by": "picture", "value": stored}).json()
        assert "000000001" in [row["key"] for row in found["rows"]]
        none = asked.post("/v1/used", json={"by": "domain", "value": "none.example"}).json()
        assert (none["total"], none["rows"]) == (0, [])
        bad = asked.post("/v1/used", json={"by": "sha256", "value": "abc"})
        assert (bad.status_code, "64 hex digits" in bad.json()["detail"]) == (400, True)
        assert asked.post("/v1/used", json={"by": "picture", "value": "!"}).status_code == 400


@pytest.mark.server
def test_runs_and_checkpoints_are_told_from_afar(tmp_path: Path, clip: Clip) -> None:
    run = train_on_selection(tmp_path, clip)
    opened = frenchcat.open(tmp_path / "dataset")
    rows = opened.selection("some").rows["key"].to_pylist()
    with live(opened.dataset, clip=clip) as service:
        with frenchcat.connect(f"http://127.0.0.1:{service.port}", timeout_sec=300) as remote:
            for key in rows[:6]:
                found, wanted = remote.used(key=key), opened.used(key=key)
                (use,) = found.runs
                assert found.runs == [replace(wanted.runs[0], run=run.name)]
            name = use.checkpoints[-1].name
            (only,) = remote.used(key=key, checkpoint=name).runs
            assert [one.name for one in only.checkpoints] == [name]
            with pytest.raises(NotFound, match="has no checkpoint 'none'"):
                remote.used(key=key, checkpoint="none")


def test_it_needs_a_key_where_there_are_keys_and_is_closed_to_everybody(
    dataset: Dataset, clip: Clip, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("a-secret-of-the-service\n")
    body = {"by": "domain", "value": "a.example"}
    with client(dataset, clip, api_key_file=str(tmp_path / "keys")) as asked:
        assert asked.post("/v1/used", json=body).status_code == 401
        key = {"X-API-Key": "a-secret-of-the-service"}
        assert asked.post("/v1/used", json=body, headers=key).status_code == 200
    with client(dataset, clip, host="0.0.0.0", hosts=("127.0.0.1",)) as asked:
        assert asked.post("/v1/used", json=body).status_code == 403
        assert asked.get("/config.json").json()["frenchcat"]["mayAskUsed"] is False
