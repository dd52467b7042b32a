"""`frenchcat sample` and `frenchcat verify`: files, receipts, negative prompts, mistakes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from typer.testing import CliRunner

from frenchcat.cli import app
from frenchcat.curate.errors import UserError
from frenchcat.drawing_files import draw_to_files
from frenchcat.train.checkpoint import best, read_state
from frenchcat.train.credentials import self_issued
from frenchcat.train.draw import SampleRequest, draw
from frenchcat.train.run import Parts, open_run
from frenchcat.verify_file import verify_file
from tests.sample.odd_images import people_have
from tests.sample.pictures import noise
from tests.train.embedded_run import mini, train_on_selection


@pytest.fixture(scope="module", autouse=True)
def config(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_on_selection(tmp_path_factory.mktemp("draw"), mini())


@pytest.fixture(scope="module")
def parts(run: Path) -> Parts:
    return open_run(run)[0]


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, np.float64)


def one(parts: Parts, wanted: SampleRequest, **how: Any) -> np.ndarray:
    return pixels(draw(parts, [wanted], steps=3, **how)[0])


def test_a_picture_depends_on_its_own_wish_alone(parts: Parts) -> None:
    requests = [SampleRequest("a patch of colour 3", 1), SampleRequest("a cat", 2)]
    both = draw(parts, requests, steps=3)
    for wanted, picture in zip(requests, both, strict=True):
        assert np.abs(one(parts, wanted) - pixels(picture)).max() <= 1
    assert (one(parts, requests[0]) != one(parts, SampleRequest("a patch of colour 3", 2))).any()


def test_a_negative_prompt_takes_the_empty_ones_place(parts: Parts) -> None:
    """By equation 6: negative equal to the prompt is the prompt unguided, whatever the weight."""
    wanted, same = SampleRequest("a cat", 1), SampleRequest("a cat", 1, negative="a cat")
    unguided = one(parts, wanted, guidance=1.0)
    assert np.abs(one(parts, same, guidance=7.0) - unguided).max() <= 1
    other = one(parts, SampleRequest("a cat", 1, negative="a patch"), guidance=7.0)
    assert np.abs(other - one(parts, wanted, guidance=7.0)).max() > 0


def test_little_strength_keeps_the_picture_and_all_of_it_forgets_it(parts: Parts) -> None:
    start = Image.new("RGB", (32, 20), (250, 30, 60))
    near = draw(parts, [SampleRequest("a cat")], steps=50, start=start, strength=0.02)[0]
    assert np.abs(pixels(near) - np.array([250, 30, 60])).mean() < 12
    one_start = draw(parts, [SampleRequest("a cat")], steps=4, start=start, strength=1.0)[0]
    other = draw(parts, [SampleRequest("a cat")], steps=4, start=noise(4), strength=1.0)[0]
    assert np.abs(pixels(one_start) - pixels(other)).mean() < 8


def test_a_turned_or_deep_file_is_drawn_over_as_people_see_it(run: Path, tmp_path: Path) -> None:
    """As `frenchcat sample --image FILE --strength 0.02`, which changes next to nothing."""
    opened = open_run(run)
    for name in ("JPEG turned 6", "PNG 16 bits", "JPEG of a wide profile"):
        data, seen = people_have()[name]
        (tmp_path / "start").write_bytes(data)
        how: dict[str, Any] = {
            "image": tmp_path / "start",
            "strength": 0.02,
            "steps": 50,
            "neighbours": 1,
        }
        drawn = draw_to_files(run, ["a cat"], tmp_path / name, number=1, opened=opened, **how)
        with Image.open(drawn[0]) as near:
            wanted = pixels(ImageOps.fit(seen, near.size))
            assert np.abs(pixels(near) - wanted).mean() < 12, name


def test_files_are_signed_and_have_receipts(run: Path, tmp_path: Path) -> None:
    paths = draw_to_files(run, ["a cat", "a dog"], tmp_path, number=2, steps=2, guidance=2.0)
    assert [path.name for path in paths] == [
        "a-cat-0.png",
        "a-cat-1.png",
        "a-dog-0.png",
        "a-dog-1.png",
        "grid.png",
    ]
    state = read_state(best(run) or run)
    for path in paths:
        found = verify_file(path)
        assert (found["intact"], found["key"], found["generated"]) == (True, "own", True)
        assert found["facts"]["selection"] == state.identity["selection"]
        assert len(found["facts"]["checkpoint"]) == 64
    told = json.loads((tmp_path / "a-dog-1.json").read_text())
    assert told["made"] == verify_file(tmp_path / "a-dog-1.png")["facts"]
    assert (told["made"]["prompt"], told["made"]["seed"]) == ("a dog", 1)
    assert (told["made"]["guidance"], told["note"]) == (2.0, None)
    assert len(told["nearest"]) == 5
    assert set(told["nearest"][0]) >= {"key", "url", "creator", "licence", "similarity"}


def test_each_drawing_has_files_of_its_own_and_the_same_one_keeps_its(
    run: Path, tmp_path: Path
) -> None:
    def drawn(prompt: str, guidance: float = 2.0, **how: Any) -> list[str]:
        given = {"number": 1, "steps": 1, "guidance": guidance, **how}
        return [path.name for path in draw_to_files(run, [prompt], tmp_path, **given)]

    long = "a cat that " + "sits and " * 10
    first = drawn("a cat")
    assert first == ["a-cat-0.png", "grid.png"]
    before = (tmp_path / "a-cat-0.png").read_bytes()
    names = [
        drawn("a cat", 3.0),
        drawn("A cat!"),
        drawn("a cat", negative="a dog"),
        drawn("a cat", seed=7),
        *(drawn(prompt) for prompt in (long + "here", long + "there", "🐈", "🐕")),
    ]
    each = [*first, *(name for pair in names for name in pair)]
    assert len(set(each)) == len(each) == 18
    assert {path.name for path in tmp_path.glob("*.png")} == set(each)
    assert (tmp_path / "a-cat-0.png").read_bytes() == before
    assert names[0] == ["a-cat_2-0.png", "grid_2.png"]
    assert (drawn("a cat"), drawn("a cat", 3.0)) == (first, names[0]), "the same call, its files"
    assert drawn("🐕") == names[-1]
    assert len(list(tmp_path.glob("*.png"))) == 18
    told = json.loads((tmp_path / "a-cat_2-0.json").read_text())
    assert told["made"]["guidance"] == 3.0


def test_verify_says_it_in_words_with_a_status(run: Path, tmp_path: Path) -> None:
    (path, _) = draw_to_files(run, ["a cat"], tmp_path, number=1, steps=1)
    call = CliRunner().invoke
    good = call(app, ["verify", str(path)])
    assert good.exit_code == 0
    for word in ("unchanged", "own self-issued key", "prompt: a cat", "seed: 0", "checkpoint: "):
        assert word in good.stdout
    data = bytearray(path.read_bytes())
    for name in ("download", "photo.jpg"):  # told by its bytes, whatever it is called
        (tmp_path / name).write_bytes(data)
        assert call(app, ["verify", str(tmp_path / name)]).exit_code == 0
    data[-20] ^= 1
    path.write_bytes(data)
    bad = call(app, ["verify", str(path), "--json"])
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["intact"] is False
    noise(1).save(tmp_path / "bare.png")
    bare = call(app, ["verify", str(tmp_path / "bare.png")])
    assert bare.exit_code == 1
    assert "no Content Credentials" in bare.stdout
    for name, content in (("words.txt", b"hello"), ("empty.png", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="not an image of a known kind"):
            verify_file(tmp_path / name)
    with pytest.raises(UserError, match="cannot be read"):
        verify_file(tmp_path / "nowhere.png")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"steps": 0}, "give 1 to 1000"),
        ({"steps": 1001}, "give 1 to 1000"),
        ({"number": 0}, "give at least 1"),
        ({"neighbours": 0}, "give at least 1"),
        ({"sampler": "euler"}, "known: ddpm, ddim, heun"),
        ({"checkpoint": Path("nowhere")}, "nowhere is not a checkpoint"),
        ({"device": "tpu"}, "no device 'tpu'"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"kind": "gif"}, "known: png, jpeg, webp"),
        ({"mark": True}, "16x16 pixels are too few for an invisible mark"),
        ({"image": Path("nowhere.png")}, "nowhere.png: no such file"),
        ({"image": Path(__file__)}, "it is not an image but text"),
        ({"image": "good", "strength": 0.0}, "strength is 0.0"),
        ({"image": "good", "strength": 1.5}, "strength is 1.5"),
        ({"strength": 0.5}, "--strength 0.5 says how much an image is noised; add --image"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    run: Path, tmp_path: Path, how: dict[str, Any], said: str
) -> None:
    if how.get("image") == "good":
        noise(1).save(tmp_path / "start.png")
        how = how | {"image": tmp_path / "start.png"}
    with pytest.raises(UserError, match=said) as raised:
        draw_to_files(run, ["a cat"], tmp_path / "out", **({"steps": 2} | how))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_named_checkpoint_draws(run: Path, tmp_path: Path) -> None:
    for checkpoint in (run / "checkpoints").iterdir():
        draw_to_files(run, ["a cat"], tmp_path, number=1, steps=1, checkpoint=checkpoint)
        told = json.loads((tmp_path / "a-cat-0.json").read_text())
        assert f"step-{told['made']['step']:08d}" == checkpoint.name


def test_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run: it has no run\.json"):
        draw_to_files(tmp_path, ["a cat"], tmp_path / "out")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_manifest_names_model_checkpoint_selection_prompt_and_how(
    run: Path, tmp_path: Path
) -> None:
    how = {"steps": 1, "guidance": 2.5, "sampler": "heun", "negative": "a dog", "seed": 9}
    (path, sheet) = draw_to_files(run, ["a cat"], tmp_path, number=1, **how)
    (folder,) = (run / "checkpoints").iterdir()
    facts = verify_file(path)["facts"]
    assert facts == {
        "model": "run",
        "checkpoint": digest(folder / "unet" / "diffusion_pytorch_model.safetensors"),
        "step": 2,
        "selection": read_state(folder).identity["selection"],
        "selection_name": "some",
        "prompt": "a cat",
        **how,
    }
    whole = {name: value for name, value in facts.items() if name not in ("seed", "negative")}
    assert verify_file(sheet)["facts"] == whole


ALIKE = ["a cat", "A cat!", "a cat", "x" * 70, "x" * 69 + "y", "../../a", "", "猫" * 70]


def test_prompts_that_begin_alike_do_not_take_each_others_files(run: Path, tmp_path: Path) -> None:
    paths = draw_to_files(run, ALIKE, tmp_path / "out", number=1, steps=1)[:-1]
    told = [json.loads(path.with_suffix(".json").read_text()) for path in paths]
    assert [one["made"]["prompt"] for one in told] == ALIKE
    assert [one["picture"] for one in told] == [path.name for path in paths]
    assert len(set(paths)) == len(set(ALIKE))
    assert {path.parent for path in (tmp_path / "out").rglob("*")} == {tmp_path / "out"}
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert paths[0].name == "a-cat-0.png"


def pem(folder: Path) -> tuple[Path, Path]:
    made = self_issued()
    key, certificates = folder / "key.pem", folder / "certificates.pem"
    key.write_bytes(made.key)
    certificates.write_bytes(made.certificates)
    return key, certificates


def test_the_verb_passes_on_all_that_it_is_told(run: Path, tmp_path: Path) -> None:
    key, certificates = pem(tmp_path)
    noise(1).save(tmp_path / "start.png")
    (folder,) = (run / "checkpoints").iterdir()
    options = {
        **{"-n": 2, "--guidance": 2.5, "--negative": "a dog", "--steps": 3, "--sampler": "ddim"},
        **{"--seed": 41, "--image": tmp_path / "start.png", "--strength": 0.4, "--neighbours": 2},
        **{"--key": key, "--certificates": certificates, "--device": "cpu"},
        **{"--out": tmp_path / "out", "--checkpoint": folder},
    }
    given = [str(one) for option in options.items() for one in option]
    shown = CliRunner().invoke(app, ["sample", str(run), "a cat", *given], catch_exceptions=False)
    names = ["a-cat-41.png", "a-cat-42.png", "grid.png"]
    assert shown.stdout.split() == [str(tmp_path / "out" / name) for name in names]
    told = json.loads((tmp_path / "out" / "a-cat-42.json").read_text())
    made = told["made"]
    assert (made["guidance"], made["negative"], made["steps"]) == (2.5, "a dog", 3)
    assert (made["sampler"], made["seed"]) == ("ddim", 42)
    assert (made["start"], made["strength"]) == ("start.png", 0.4)
    assert len(told["nearest"]) == 2
    assert verify_file(tmp_path / "out" / names[0])["key"] == "unknown"  # signed by that key
    call = CliRunner().invoke
    trusted = call(app, ["verify", str(tmp_path / "out" / names[0]), "--trust", str(certificates)])
    assert (trusted.exit_code, "whom you trust" in trusted.stdout) == (0, True)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_what_survives_of_manifest_metadata_and_mark_is_said(
    run: Path, tmp_path: Path, kind: str
) -> None:
    call = CliRunner().invoke
    asked = ["sample", str(run), "a cat", "-n", "1", "--steps", "1", "--size", "64x64"]
    asked += ["--format", kind, "--out", str(tmp_path), "--mark"]
    first = call(app, asked, catch_exceptions=False).stdout.split()
    path = Path(first[0])
    assert path.suffix == {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}[kind]
    with Image.open(path) as opened:
        assert opened.format == kind.upper()
    assert call(app, asked, catch_exceptions=False).stdout.split() == first  # the same files
    good = call(app, ["verify", str(path)])
    assert good.exit_code == 0
    assert "IPTC digital source type: trainedAlgorithmicMedia" in good.stdout
    assert "there: Content Credentials, IPTC, invisible mark; not there: nothing" in good.stdout
    assert verify_file(path)["facts"]["invisible_mark"] is True
    if kind != "png":  # the search is the same
        return
    with Image.open(path) as opened:
        opened.crop((5, 3, 61, 58)).save(tmp_path / "cropped.png")
    bare = call(app, ["verify", str(tmp_path / "cropped.png")])
    assert bare.exit_code == 1
    assert "there: invisible mark; not there: Content Credentials, IPTC" in bare.stdout
    assert "found, cropped, framed or scaled since" in bare.stdout
    told = verify_file(draw_to_files(run, ["a cat"], tmp_path / "no", number=1, steps=1)[0])
    assert (told["mark"]["found"], told["iptc"]) == (False, ["trainedAlgorithmicMedia"])


def test_a_mark_that_cannot_be_looked_for_is_said(run: Path, tmp_path: Path) -> None:
    (path, _) = draw_to_files(run, ["a cat"], tmp_path, number=1, steps=1)
    path.write_bytes(path.read_bytes()[:400])
    told = verify_file(path)
    assert (told["intact"], told["mark"]["found"]) == (False, False)
    assert any("invisible mark: not searched for (" in line for line in told["words"])
    assert "not there: Content Credentials (not valid any more)" in told["words"][-1]


@pytest.mark.parametrize("alone", ["--key", "--certificates"])
def test_a_key_without_its_certificates_is_one_line(run: Path, tmp_path: Path, alone: str) -> None:
    given = ["sample", str(run), "a cat", alone, str(pem(tmp_path)[alone == "--certificates"])]
    with pytest.raises(UserError, match="go together"):
        CliRunner().invoke(app, given, catch_exceptions=False)


def test_what_verify_says_and_its_status_go_by_the_bytes(run: Path, tmp_path: Path) -> None:
    (path, _) = draw_to_files(run, ["a cat"], tmp_path, number=1, steps=1)
    named = tmp_path / "named.jpg"  # its first bytes tell what it is
    named.write_bytes(path.read_bytes())
    assert verify_file(named)["intact"]
    changed = bytearray(path.read_bytes())
    changed[-20] ^= 1
    named.write_bytes(changed)
    call = CliRunner().invoke
    shown = call(app, ["verify", str(named)])
    assert (shown.exit_code, shown.stdout.startswith("CHANGED")) == (1, True)
    assert "prompt" not in shown.stdout  # nothing that it says can be trusted
    told = json.loads(call(app, ["verify", str(path), "--json"]).stdout)
    assert (told["intact"], told["key"], told["facts"]["prompt"]) == (True, "own", "a cat")
    (tmp_path / "no.pem").write_text("hello")
    with pytest.raises(UserError, match="holds no PEM certificate"):
        verify_file(path, tmp_path / "no.pem")


def test_each_step_is_told_and_changes_nothing(parts: Parts) -> None:
    for sampler in ("ddim", "heun", "dpm++"):
        told: list[tuple[int, int]] = []
        wanted, how = [SampleRequest("a cat", 1)], {"steps": 5, "sampler": sampler}
        watched = draw(parts, wanted, watch=lambda *step, told=told: told.append(step), **how)
        assert told == [(n, 5) for n in range(1, 6)], sampler
        assert (pixels(watched[0]) == pixels(draw(parts, wanted, **how)[0])).all()


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_drawn(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frenchcat.train.draw.draw", lambda *_, **__: pytest.fail("it drew"))
    (tmp_path / "file").write_text("x")
    for out in (Path("/sys/drawn"), tmp_path / "file"):
        with pytest.raises(UserError, match=f"{out} cannot be .*name another folder with --out"):
            draw_to_files(run, ["a cat"], out)
