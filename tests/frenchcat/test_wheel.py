"""What a user installs: a wheel with one top-level name, which no file of a user's disturbs."""

import json
import os
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARIES = Path(pytest.__file__).parents[1]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel, and this one's libraries but frenchcat."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("frenchcat-*.whl")
    venv.create(folder / "env", with_pip=False)
    (packages,) = (folder / "env" / "lib").glob("python*/site-packages")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile"]
    subprocess.run([*install, "--target", str(packages), str(wheel)], check=True)
    # A path file's own path files are not read, so the checkout's editable install is not seen.
    (packages / "libraries.pth").write_text(f"{LIBRARIES}\n")
    return folder / "env" / "bin" / "python"


def run(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)


def test_one_top_level_name_lands_in_the_environment(python: Path) -> None:
    (packages,) = (python.parents[1] / "lib").glob("python*/site-packages")
    names = {path.name.split("-")[0] for path in packages.iterdir()}
    assert names == {"frenchcat", "bin", "libraries.pth"}
    for needed in ("py.typed", "configs/mini.toml", "index/page/index.html", "train/pipeline.py"):
        assert (packages / "frenchcat" / needed).is_file(), needed


def test_a_users_own_files_disturb_nothing(python: Path, tmp_path: Path) -> None:
    for name in ("train", "index", "curate", "configs"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name}.py was imported')\n")
    code = (
        "import frenchcat.curate.dataset, frenchcat.index.hit, frenchcat.train.plan\n"
        "from frenchcat.curate.config import PRESETS\n"
        "print(frenchcat.__file__, (PRESETS / 'mini.toml').is_file())"
    )
    shown = run(python, "-c", code, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert str(python.parents[1]) in shown.stdout
    assert shown.stdout.strip().endswith("True")
    shown = run(python, "-m", "frenchcat", "train", "no-such-preset", cwd=tmp_path)
    assert shown.returncode == 2
    assert "no settings file no-such-preset" in shown.stderr


def test_the_demos_commands_run_outside_the_checkout(python: Path, tmp_path: Path) -> None:
    serve = (
        "from pathlib import Path\n"
        "import pyarrow.parquet as pq\n"
        "from frenchcat.sample_data import write_urls\n"
        "from frenchcat.sample_site import SampleSite\n"
        "import frenchcat\n"
        "if __name__ == '__main__':\n"
        "    with SampleSite(0) as site:\n"
        "        write_urls(Path('all.parquet'), site.base_url)\n"
        "        pq.write_table(pq.read_table('all.parquet').slice(0, 12), 'urls.parquet')\n"
        "        frenchcat.build('urls.parquet', 'cats', config='demo', allow_hosts=site.hosts)\n"
    )
    (tmp_path / "make.py").write_text(serve)
    made = run(python, "make.py", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    for command in (
        ["info", "cats", "--json"],
        ["search", "cats", "french cat", "-k", "3", "--json", "--html", "cats.html"],
        ["select", "cats", "some", "--json"],
        ["report", "cats", "--out", "report.html", "--json"],
    ):
        shown = run(python, "-m", "frenchcat", *command, cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert json.loads(shown.stdout.splitlines()[0])
    assert (tmp_path / "cats.html").stat().st_size > 1000


@pytest.mark.slow
def test_the_demo_runs_outside_the_checkout(python: Path, tmp_path: Path) -> None:
    shown = run(python, "-m", "frenchcat", "demo", "--out", "out", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert (tmp_path / "out" / "french-cat.html").is_file()


def test_libraries_are_where_they_are_thought_to_be() -> None:
    assert str(LIBRARIES) in [*site.getsitepackages(), *sys.path]
