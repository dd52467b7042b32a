"""The artist's recipe: names, captions, what is held out, rendering; a part of it end to end."""

import io
import json
import tarfile
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from frenchcat import api
from frenchcat.train.artist import open_artist
from frenchcat.train.settings import TextSettings
from frenchcat.train.text import variants_of
from tools.artist import materials
from tools.artist.captions import KNOWN, SEPARATOR, caption, held_out
from tools.artist.figures import attended, tokens
from tools.artist.materials import SOURCES, Drawing, Missing, drawings, fetch
from tools.artist.recipe import COUNTS, SELECTION, make, served, write_list
from tools.artist.render import render, write_pictures

BOX = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10">'
SVG = BOX + '<rect width="20" height="10"{}/></svg>'
TEXTS = {"red apple": {"en": ["red apple", "fruit"]}}
OTHERS = {"fr": "pomme rouge", "de": "roter Apfel", "es": "manzana roja", "it": "mela rossa"}
OTHERS |= {"ja": "赤リンゴ", "zh": "红苹果"}
TEXTS["red apple"] |= {language: [name] for language, name in OTHERS.items()}


def drawing(name: str, style: int = 0, fill: str = "#f00") -> Drawing:
    return Drawing(name, SOURCES[style], SVG.format(f' fill="{fill}"'))


def test_a_drawing_is_whole_and_on_white() -> None:
    with Image.open(io.BytesIO(render(drawing("car").svg, 64))) as picture:
        assert picture.mode == "RGB"
        pixels = np.asarray(picture)
    assert pixels.shape == (64, 64, 3)
    assert (pixels[16:48] == (255, 0, 0)).all()
    assert (pixels[:16] == 255).all()
    assert (pixels[48:] == 255).all()
    with pytest.raises(ValueError, match="unknown token"):
        render("no drawing")


def test_a_picture_that_cannot_be_drawn_is_left_out(tmp_path: Path) -> None:
    good, bad = drawing("car"), Drawing("bus", SOURCES[0], "<svg")
    assert list(write_pictures([good, bad], tmp_path).values()) == ["noto/car.png"]
    (tmp_path / "noto" / "car.png").write_bytes(b"kept")
    write_pictures([good], tmp_path)
    assert (tmp_path / "noto" / "car.png").read_bytes() == b"kept"


def test_a_caption_has_the_name_the_style_and_other_languages() -> None:
    made = caption(drawing("red apple", 3), TEXTS)
    found = variants_of(made, TextSettings(separator=SEPARATOR))
    assert found[:4] == ["red apple", "a red apple", "red apple, flat", "a red apple, flat"]
    assert found[4:] == ["red apple, fruit", *OTHERS.values()]
    unknown = variants_of(caption(drawing("orc"), {}), TextSettings(separator=SEPARATOR))
    assert unknown == ["orc", "an orc", "orc, shaded", "an orc, shaded"]


def test_what_is_held_out_follows_from_names_alone() -> None:
    names = [f"thing {n}" for n in range(1000)]
    every = [drawing(name, style) for name in names for style in range(5)]
    every += [drawing(name, style) for name in KNOWN for style in range(5)]
    every += [drawing(f"flag {n}", style) for n in range(200) for style in range(5)]
    every += [drawing(f"rare {n}", style) for n in range(200) for style in range(3)]
    found = held_out(every)
    assert found == held_out(reversed(every))
    concepts = {name for (name, _), kind in found.items() if kind == "concept"}
    renderings = Counter(name for (name, _), kind in found.items() if kind == "rendering")
    assert 20 < len(concepts) < 65
    assert 190 < len(renderings) < 300
    assert set(renderings.values()) == {1}
    assert not concepts & renderings.keys()
    for name in concepts:
        assert all(found[name, source.style] == "concept" for source in SOURCES)
    assert not concepts & KNOWN
    assert not any(name.startswith(("flag", "rare")) for name, _ in found)
    styles = Counter(style for (_, style), kind in found.items() if kind == "rendering")
    assert min(styles[source.style] for source in SOURCES) > 20


def package(work: Path, source: Any, icons: dict[str, Any], **more: Any) -> None:
    folder = work / "npm" / source.name / "package"
    folder.mkdir(parents=True)
    (folder / "icons.json").write_text(json.dumps({"icons": icons} | more))


def test_drawings_come_out_of_packages_without_skin_tones(tmp_path: Path) -> None:
    for source in SOURCES:
        package(tmp_path, source, {}, width=32, height=32)
    kept = {"red-apple": {"body": "<g/>"}, "flag-for-flag-france": {"body": "<g/>", "left": -2}}
    tones = ("pilot-medium-light-skin-tone", "mermaid-tone1", "man-dark", "handshake-light-medium")
    more = {name: {"body": "<g/>"} for name in (*tones, "flag-france")}
    path = tmp_path / "npm" / SOURCES[0].name / "package" / "icons.json"
    path.write_text(json.dumps({"icons": kept | more, "width": 32, "height": 16}))
    found = list(drawings(tmp_path))
    assert [one.name for one in found] == ["flag france", "red apple"]
    assert 'viewBox="-2 0 32 16"' in found[0].svg or 'viewBox="0 0 32 16"' in found[0].svg
    assert found[1].slug == "red-apple"


def test_a_package_that_cannot_be_had_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    npm = bin_folder / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error 404 not here' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:/usr/bin:/bin")
    with pytest.raises(Missing, match=r"@iconify-json/noto@1\.2\.9 cannot be had .*404 not here"):
        fetch(tmp_path / "work")


def test_a_packed_package_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an npm that packs what a test wrote; CLDR is there already."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    packed = tmp_path / "packed.tgz"
    with tarfile.open(packed, "w:gz") as tar:
        body = b'{"icons": {}}'
        member = tarfile.TarInfo("package/icons.json")
        member.size = len(body)
        tar.addfile(member, io.BytesIO(body))
    npm = bin_folder / "npm"
    npm.write_text(f"#!/bin/sh\ncp {packed} ./icons.tgz\necho $2 >> {tmp_path}/asked\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:/usr/bin:/bin")
    work = tmp_path / "work"
    materials.annotations(work).mkdir(parents=True)
    for _ in range(2):
        fetch(work)
    wanted = [f"{source.package}@{source.version}" for source in SOURCES]
    assert (tmp_path / "asked").read_text().split() == wanted
    assert list(drawings(work)) == []


@pytest.mark.server
def test_the_list_names_each_picture_where_it_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.artist.recipe.texts_by_name", lambda _: TEXTS)
    chosen = [drawing("red apple"), drawing("piñata", 4, "#00f")]
    paths = write_pictures(chosen, tmp_path / "pictures")
    with served(tmp_path / "pictures", 0) as base:
        write_list(tmp_path / "u.parquet", base, paths, {("piñata", "simple"): "concept"}, tmp_path)
        rows = pq.read_table(tmp_path / "u.parquet").to_pylist()
        bodies = [urllib.request.urlopen(row["url"], timeout=20).read() for row in rows]
    assert [row["name"] for row in rows] == ["piñata", "red apple"]
    assert [row["held_out"] for row in rows] == ["concept", ""]
    assert [row["license"] for row in rows] == ["CC-BY-4.0", "Apache-2.0"]
    assert bodies == [(tmp_path / "pictures" / paths[one]).read_bytes() for one in chosen[::-1]]


@pytest.mark.slow
@pytest.mark.server
def test_the_recipe_on_a_small_part_of_the_material(tmp_path: Path) -> None:
    """From packages by name to selections; again it does nothing anew."""
    try:
        counts = make(tmp_path / "work", tmp_path / "dataset", limit=30)
    except Missing as missing:
        pytest.skip(f"the material cannot be had here: {missing}")
    assert counts["drawings"] > 8000
    assert counts["names"] > 2000
    pipeline = counts["pipeline"]
    assert pipeline["rows"] == pipeline["downloaded"] == counts["taken"] >= 120
    assert pipeline["kept"] == sum(counts["selections"].values())
    assert counts["selections"][SELECTION] > 100
    dataset = api.open(tmp_path / "dataset")
    kept = set(dataset.selection(SELECTION).rows["key"].to_pylist())
    rows = dataset.rows(["key", "held_out"]).to_pylist()
    assert {row["held_out"] for row in rows if row["key"] in kept} == {""}
    before = (tmp_path / COUNTS).read_bytes()
    make(tmp_path / "work", tmp_path / "dataset", limit=30)
    assert (tmp_path / COUNTS).read_bytes() == before


def test_where_it_attends_is_a_share_per_token() -> None:
    parts, _, _ = open_artist()
    drawing, shares = attended(parts, "red apple, flat", steps=1)
    assert drawing.size == (64, 64)
    named = tokens("red apple, flat")
    assert named[:2] == ["red", "apple"]
    assert shares.shape[0] == 64
    assert shares[:, : len(named)].sum(1).numpy() == pytest.approx(1, abs=1e-5)
    assert float(shares.std(0)[: len(named)].min()) > 0  # another share at another position
