"""torch.compile: the same vectors, and eager with one line where it cannot work."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from frenchcat.curate.clip.image_tower import COMPILE_PAYS_FROM
from frenchcat.curate.clip.model import load_clip
from tests.curate.clip.models import CONFIG, clip_settings, reference_pictures, save_folder
from tests.sample.pictures import random_pictures

# A process of its own: torch asks once in a process which compiler there is, and keeps it.
ENCODE = """
import sys
from pathlib import Path
import numpy as np
from frenchcat.curate.clip.model import load_clip
from tests.curate.clip.models import clip_settings
from tests.sample.pictures import random_pictures

def encode(out, batch_size):
    settings = clip_settings(
        model=f"local-dir:{sys.argv[1]}", precision="fp32", compile="yes", batch_size=batch_size
    )
    clip = load_clip(settings)
    np.save(out, clip.encode_images(random_pictures(6)))
    print(clip.images.compiled or "eager")

encode("compiled.npy", 4)
Path("full").touch()  # from now on the compiler fails
encode("failed.npy", 5)
encode("again.npy", 3)
"""
COMPILER = """#!/bin/sh
[ -e "$(dirname "$0")/full" ] && echo no space left >&2 && exit 1
exec g++ "$@"
"""


@pytest.mark.slow  # half a minute of a C++ compiler
@pytest.mark.skipif("not __import__('shutil').which('g++')", reason="needs a C++ compiler")
def test_compiled_gives_the_same_vectors_and_so_does_a_compiler_that_fails(tmp_path: Path) -> None:
    """Six pictures in batches of four: the last batch is padded. One layer compiles soonest."""
    vision = CONFIG["vision_cfg"] | {"layers": 1}
    folder = save_folder(tmp_path / "small", CONFIG | {"vision_cfg": vision})
    compiler = tmp_path / "g++"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    environment = os.environ | {
        "CXX": str(compiler),
        "OMP_NUM_THREADS": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.getcwd(),
    }
    command = [sys.executable, "-W", "ignore", "-c", ENCODE, str(folder)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert run.stdout.split() == ["done", "eager", "eager"], run.stderr
    (said,) = [line for line in run.stderr.splitlines() if line.startswith("frenchcat:")]
    assert "torch.compile failed" in said
    assert "running uncompiled" in said
    expected = reference_pictures(folder, random_pictures(6))
    for name in ("compiled", "failed", "again"):
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected, atol=1e-5)


def test_without_a_compiler_eager_and_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    for _ in range(2):
        clip = load_clip(clip_settings(model=f"local-dir:{folder}", compile="yes"))
        assert clip.images.compiled == ""
    (said,) = capsys.readouterr().err.splitlines()
    assert said == (
        "frenchcat: running uncompiled: there is no C++ compiler /nowhere/g++ "
        "(install one, or name it in CXX)"
    )


@pytest.mark.parametrize(
    ("wanted", "rows", "state"),
    [
        ("no", COMPILE_PAYS_FROM, ""),
        ("auto", None, ""),
        ("auto", COMPILE_PAYS_FROM - 1, ""),
        ("auto", COMPILE_PAYS_FROM, "pending"),
        ("yes", None, "pending"),
    ],
)
def test_compiles_only_where_it_pays(
    folder: Path, wanted: str, rows: int | None, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", sys.executable)  # something that is there
    clip = load_clip(clip_settings(model=f"local-dir:{folder}", compile=wanted), rows)
    assert clip.images.compiled == state
