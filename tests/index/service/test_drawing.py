"""/v1/draw: signed pictures of a real run, with receipts, one at a time, refused where due."""

import base64
import io
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from frenchcat.curate import remove as removal
from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.remove.request import remove
from frenchcat.draw_backend import draw_backend_of
from frenchcat.drawing_files import draw_to_files
from frenchcat.index.service.drawing import DrawBackend, Drawn
from frenchcat.index.service.models.drawing import DrawRequest
from frenchcat.train.checkpoint import newest
from frenchcat.train.draw import Stopped
from frenchcat.verify_file import verify_file
from tests.index.service.live import live
from tests.index.service.served import served
from tests.sample.columns import add_columns
from tests.sample.pictures import picture
from tests.train.embedded_run import CHOSEN, ROWS, train_on_selection

ASKED = {"prompt": "a patch of colour 3", "number": 2, "steps": 2, "guidance": 2.0, "seed": 7}


@pytest.fixture(scope="module")
def colours(run: Path) -> Dataset:
    return Dataset.open(run.parent / "dataset")


@pytest.fixture(scope="module")
def client(run: Path, colours: Dataset, clip: Clip) -> Iterator[TestClient]:
    with served(colours, clip=clip, draw_backend=draw_backend_of(run)) as client:
        yield client


def drawn(client: TestClient, **more: Any) -> Any:
    answer = client.post("/v1/draw", json=ASKED | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_it_draws_what_sample_draws_signed(client: TestClient, run: Path, tmp_path: Path) -> None:
    found = drawn(client)
    how = {"steps": 2, "guidance": 2.0}
    prompts = [str(ASKED["prompt"])]
    *paths, _ = draw_to_files(run, prompts, tmp_path / "out", number=2, seed=7, **how)
    assert len(found["pictures"]) == len(paths) == 2
    for one, path in zip(found["pictures"], paths, strict=True):
        data = base64.b64decode(one["png"])
        assert (pixels(data) == pixels(path.read_bytes())).all()
        (tmp_path / "got.png").write_bytes(data)
        said = verify_file(tmp_path / "got.png")
        assert (said["intact"], said["generated"], said["facts"]) == (True, True, one["made"])
        assert one["made"] == json.loads(path.with_suffix(".json").read_text())["made"]
    assert [one["made"]["seed"] for one in found["pictures"]] == [7, 8]


def test_it_draws_in_memory(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a place for temporary files draws all the same."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    (one,) = draw_backend_of(run).draw(DrawRequest(prompt="a cat", steps=1), lambda: False)
    assert pixels(one.png).shape[2] == 3
    assert one.receipt["made"]["prompt"] == "a cat"


def test_receipts_lead_to_the_training_pictures(client: TestClient) -> None:
    found = drawn(client, number=1)
    assert (found["dataset"], found["withheld"]) == ("colours", 0)
    assert 0 < found["compared"] <= CHOSEN
    nearest = found["pictures"][0]["nearest"]
    assert len(nearest) == 5
    similarities = [one["similarity"] for one in nearest]
    assert similarities == sorted(similarities, reverse=True)
    for one in nearest:
        assert int(one["key"]) < CHOSEN
        assert one["caption"] == f"a patch of colour {int(one['key'])}"
        assert (one["creator"], one["licence"]) == (f"painter {int(one['key'])}", "CC BY 4.0")
        assert client.get(one["thumbnail"]).headers["content-type"] == "image/jpeg"
    assert "not copied from" in found["about"]


def test_it_is_counted_and_told(client: TestClient) -> None:
    def counted() -> float:
        lines = client.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("drawn_pictures_t"))

    before = counted()
    drawn(client, number=2)
    assert counted() == before + 2
    assert "draw_time_count" in client.get("/metrics").text
    assert "drawings_running 0.0" in client.get("/metrics").text
    assert client.get("/config.json").json()["frenchcat"]["draw"] == {"pictures": 4, "steps": 50}
    assert "/v1/draw" in client.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"number": 5}, 400, "number is 5; this service allows at most 4"),
        ({"steps": 51}, 400, "steps is 51"),
        ({"prompt": " "}, 400, "the query is empty"),
        ({"prompt": "a" * 501}, 422, "prompt"),
        ({"number": 0}, 422, "number"),
        ({"guidance": -1}, 422, "guidance"),
        ({"seed": 2**31}, 422, "seed"),
        ({"sampler": "ddim"}, 422, "sampler"),
    ],
)
def test_what_is_too_much_is_said(
    client: TestClient, change: dict[str, Any], status: int, said: str
) -> None:
    answer = client.post("/v1/draw", json=ASKED | change)
    assert answer.status_code == status
    assert said in answer.json()["error"]


@pytest.mark.parametrize("prompt", ["猫" * 500, "🐈" * 500, "../../x", "\x00", "<b>%s</b>"])
def test_any_words_are_drawn(client: TestClient, prompt: str) -> None:
    found = drawn(client, prompt=prompt, number=1, steps=1)
    assert found["pictures"][0]["made"]["prompt"] == prompt


def test_without_a_run_nothing_is_drawn(cats: Dataset, clip: Clip) -> None:
    with served(cats, clip=clip) as client:
        answer = client.post("/v1/draw", json=ASKED)
        assert (answer.status_code, "--draw RUN" in answer.json()["error"]) == (403, True)
        assert client.get("/config.json").json()["frenchcat"]["draw"] is None


def test_another_dataset_is_served(cats: Dataset, clip: Clip, run: Path) -> None:
    """The receipts still name keys and where the pictures are from, without paths of this one."""
    with served(cats, clip=clip, draw_backend=draw_backend_of(run)) as client:
        found = drawn(client, number=1)
    assert found["dataset"] is None
    for one in found["pictures"][0]["nearest"]:
        assert one["url"] == f"http://example.org/{one['key']}.png"
        assert "thumbnail" not in one


def test_what_may_not_be_seen_is_not_shown(clip: Clip, tmp_path: Path) -> None:
    run = train_on_selection(tmp_path, clip)
    colours = Dataset.open(tmp_path / "dataset")
    with served(colours, clip=clip, draw_backend=draw_backend_of(run)) as client:
        plain = drawn(client, number=1)["pictures"][0]["nearest"]
    gone, unsafe = plain[0]["key"], plain[1]["key"]
    add_columns(colours, "scores", punsafe=[float(int(unsafe) == n) for n in range(ROWS)])
    query = removal.RemovalQuery("key", gone, False)
    with colours.lock():
        remove(colours, query, removal.matches(colours, query))
    with served(colours, clip=clip, draw_backend=draw_backend_of(run)) as client:
        nearest = drawn(client, number=1)["pictures"][0]["nearest"]
        open_to = drawn(client, number=1, safe=False)["pictures"][0]["nearest"]
    assert gone not in [one["key"] for one in nearest]
    assert nearest[0] == {"key": unsafe, "similarity": plain[1]["similarity"]}
    assert nearest[1] == plain[2]
    assert open_to[0] == plain[1]


def test_pictures_that_look_violent_are_withheld(
    run: Path, colours: Dataset, clip: Clip, tmp_path: Path
) -> None:
    one, other = clip.encode_images([draw_to_picture(run, seed, tmp_path) for seed in (7, 8)])
    np.save(tmp_path / "violence.npy", np.stack([one, other]))
    violence = str(tmp_path / "violence.npy")
    with served(colours, clip=clip, draw_backend=draw_backend_of(run), violence=violence) as client:
        found = drawn(client)
        assert [one["made"]["seed"] for one in found["pictures"]] == [7]
        assert found["withheld"] == 1
        assert len(drawn(client, violence=True)["pictures"]) == 2


def draw_to_picture(run: Path, seed: int, folder: Path) -> Image.Image:
    how = {"steps": 2, "guidance": 2.0}
    path, _ = draw_to_files(run, [str(ASKED["prompt"])], folder, number=1, seed=seed, **how)
    return Image.open(path).convert("RGB")


class Slow:
    """An artist that draws when it is let, and knows how many it drew at once."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), threading.Semaphore(0)
        self.prompts: list[str] = []
        self.running = self.most = 0

    def draw(self, query: DrawRequest, stopped: Callable[[], bool]) -> list[Drawn]:
        self.running += 1
        self.most = max(self.most, self.running)
        self.prompts.append(query.prompt)
        self.begun.release()
        self.go.wait(20)
        self.running -= 1
        told: dict[str, Any] = {"made": {}, "nearest": [], "compared": 0, "about": ""}
        return [Drawn(picture(0, 32, 24), told)]


def asked(client: TestClient, prompt: str) -> Any:
    return client.post("/v1/draw", json={"prompt": prompt})


def test_one_at_a_time_and_few_wait(cats: Dataset) -> None:
    slow = Slow()
    with (
        served(cats, draw_backend=DrawBackend(slow.draw), draw_waiting=2) as client,
        ThreadPoolExecutor(3) as threads,
    ):
        first = threads.submit(asked, client, "0")
        assert slow.begun.acquire(timeout=20)
        others = [threads.submit(asked, client, str(n)) for n in (1, 2)]
        deadline = time.monotonic() + 20
        while "drawings_running 3.0" not in client.get("/metrics").text:  # and it is answered
            assert time.monotonic() < deadline
        refused = asked(client, "3")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        assert "one drawing is made at a time, and 2 are already waiting" in refused.json()["error"]
        slow.go.set()
        assert [future.result(20).status_code for future in (first, *others)] == [200, 200, 200]
        assert asked(client, "4").status_code == 200
    assert slow.most == 1
    assert slow.prompts[0] == "0"
    assert sorted(slow.prompts) == ["0", "1", "2", "4"]


def test_who_waits_longer_than_a_request_may_is_told_and_not_drawn_for(cats: Dataset) -> None:
    slow = Slow()
    backend = DrawBackend(slow.draw)
    with (
        served(cats, draw_backend=backend, draw_waiting=1, deadline_sec=0.5) as client,
        ThreadPoolExecutor(2) as threads,
    ):
        answers = [threads.submit(asked, client, "a"), threads.submit(asked, client, "b")]
        for answer in answers:
            assert answer.result(20).status_code == 503
            assert "longer than 0.5 s" in answer.result().json()["error"]
        slow.go.set()
        deadline = time.monotonic() + 20
        while "drawings_running 0.0" not in client.get("/metrics").text:
            assert time.monotonic() < deadline
        assert asked(client, "c").status_code == 200
    assert len(slow.prompts) == 2  # one of the two, and the last


def test_what_nobody_waits_for_any_more_is_not_drawn(cats: Dataset) -> None:
    """Closed dialogs: the one at work stops, those that wait are never begun."""
    slow, stops = Slow(), list[bool]()

    def draw(query: DrawRequest, stopped: Callable[[], bool]) -> list[Drawn]:
        if query.prompt != "stay":
            slow.begun.release()
            slow.prompts.append(query.prompt)
            while not stopped() and not slow.go.is_set():
                pass
            stops.append(stopped())
            raise Stopped
        return slow.draw(query, stopped)

    with live(cats, draw_backend=DrawBackend(draw), draw_waiting=4) as service:
        closed = [service.send("/v1/draw", {"prompt": "left"})]
        assert slow.begun.acquire(timeout=20)
        closed += [service.send("/v1/draw", {"prompt": "never"}) for _ in range(3)]
        service.wait_for("drawings_running 4.0")
        for connection in reversed(closed):
            connection.close()
        service.wait_for('http_requests_total{route="/v1/draw",status="499"} 4.0')
        slow.go.set()  # a drawing that was not stopped ends, too
        assert service.post("/v1/draw", {"prompt": "stay"}).status_code == 200
    assert stops == [True]
    assert slow.prompts == ["left", "stay"]


def test_a_drawing_stops_before_its_next_step(run: Path, tmp_path: Path) -> None:
    asked: list[bool] = []

    def after_one() -> bool:
        asked.append(True)
        return len(asked) > 1

    with pytest.raises(Stopped):
        draw_to_files(run, ["a cat"], tmp_path / "out", number=1, steps=20, stopped=after_one)
    assert len(asked) == 2
    assert not (tmp_path / "out").exists()


def test_words_that_no_query_may_hold_are_not_drawn(cats: Dataset, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("gore\n")
    slow = Slow()
    slow.go.set()
    words = str(tmp_path / "words")
    with served(cats, draw_backend=DrawBackend(slow.draw), refused_words=words) as client:
        for body in ({"prompt": "GORE"}, {"prompt": "a cat", "negative": "no gore"}):
            assert client.post("/v1/draw", json=body).status_code == 403
        assert asked(client, "a cat").status_code == 200
    assert slow.prompts == ["a cat"]


def test_a_failing_artist_is_a_mistake_or_a_failure(cats: Dataset) -> None:
    def fails(query: DrawRequest, stopped: Callable[[], bool]) -> list[Drawn]:
        raise UserError("the run is gone") if query.prompt == "a" else OSError("no disk")

    with served(cats, draw_backend=DrawBackend(fails), raising=False) as client:
        assert asked(client, "a").json()["error"] == "the run is gone"
        assert asked(client, "b").status_code == 500
        assert asked(client, "a").status_code == 400


def test_keys_are_asked_for(cats: Dataset, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("0123456789abcdef\n")
    with served(
        cats, draw_backend=DrawBackend(Slow().draw), api_key_file=str(tmp_path / "keys")
    ) as client:
        assert asked(client, "a").status_code == 401


def test_a_better_checkpoint_is_taken_up(run: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    backend = draw_backend_of(copied)
    query = DrawRequest(prompt="a cat", steps=1)
    (before,) = backend.draw(query, lambda: False)
    last = newest(copied)
    assert last is not None
    after = Path(shutil.copytree(last, last.with_name("step-00000009")))
    state = json.loads((after / "state.json").read_text())
    state |= {"step": 9, "held_out_loss": -1.0}
    (after / "state.json").write_text(json.dumps(state))
    (now,) = backend.draw(query, lambda: False)
    assert [one.receipt["made"]["step"] for one in (before, now)] == [2, 9]


def test_what_is_no_run_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--draw .* is not a run: it has no run\.json"):
        draw_backend_of(tmp_path)
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(UserError, match="has no checkpoint yet"):
        draw_backend_of(copied)


def test_a_run_whose_dataset_is_gone_still_draws(run: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    last = newest(copied)
    assert last is not None
    state = json.loads((last / "state.json").read_text())
    state["settings"]["data"]["dataset"] = str(tmp_path / "nowhere")
    (last / "state.json").write_text(json.dumps(state))
    backend = draw_backend_of(copied)
    assert backend.trained_on is None
    (one,) = backend.draw(DrawRequest(prompt="a cat", steps=1), lambda: False)
    assert one.receipt["nearest"] == []
