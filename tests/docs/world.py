"""The folder in which blocks run: the files that the pages name, made once and copied for a page.

A page's blocks run in their order in a copy of their own, so that what one removes or trains is
not missed by another page. HOME is an empty folder there.
"""

import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import torch

from frenchcat.sample_data import read_list
from frenchcat.sample_site import SampleSite
from tests.docs import stand_ins
from tests.docs.blocks import Block
from tests.docs.server import Commands
from tests.train import pipelines

LIMIT_SEC = 600  # for one block; a busy machine is slow
BUILD = """
frenchcat build my-urls.parquet --out data/mine --config demo \\
  --set 'score.scores=["similarity", "punsafe", "pwatermark", "language", "caption", "sharpness",
                       "compression", "pdq", "hash"]' --set verdict.rules={}
frenchcat select data/mine cats --where "key < '000000030'"
frenchcat train train-demo --set data.dataset=data/mine --set data.selection=cats --set run.out=run
frenchcat export data/mine cats --to laion
frenchcat sample run "a french cat" -n 1
"""
RULES = "narrow = 'width < 100'\n"
WORDS = 'title = "Pets"\n[terms.cat]\nen = ["cat", "cats"]\n'


@dataclass(frozen=True)
class Ended:
    """What a block printed, and its status."""

    status: int
    output: str


class World:
    """Runs blocks in copies of one folder."""

    def __init__(self, folder: Path, commands: Commands, site: SampleSite) -> None:
        self.folder = folder
        self.commands = commands
        self._site = site
        self._pages: dict[str, Path] = {}
        self.template = folder / "template"
        self._make(self.template)

    def page(self, name: str, texts: Sequence[str], *, empty: bool = False) -> Path:
        """The folder of a page with these blocks, copied when the first of them runs.

        A run that the page itself trains is not there yet, nor a selection that it makes; of an
        `empty` one, nothing is.
        """
        if name not in self._pages:
            self.commands.end_page()
            folder = self._pages[name] = self.folder / name.replace("/", "-")
            if empty:
                folder.mkdir()
                return folder
            shutil.copytree(self.template, folder)
            for made in re.findall(r"run\.out=(\S+)", "\n".join(texts)):
                shutil.rmtree(folder / made, ignore_errors=True)
            for made in re.findall(
                r"frenchcat select \S+ (\S+)|/v1/selections --json '{\"name\": \"(\w+)\"",
                "\n".join(texts),
            ):
                for file in folder.glob(f"**/selections/{''.join(made)}.parquet"):
                    file.unlink()
        return self._pages[name]

    def run(self, block: Block, where: Path, *, full: bool = False) -> Ended:
        """Run a block of shell or Python in a folder.

        Python whose first line is `# name.py` is written to that file, for the blocks after it.
        """
        if block.language == "python":
            named = re.match(r"# (\w+\.py)\n", block.text)
            file = named[1] if named else "block.py"
            (where / file).write_text(block.text)
            return self.shell(f"python {file}", where, full=full)
        return self.shell(block.text, where, full=full)

    def shell(self, text: str, where: Path, *, full: bool = False) -> Ended:
        """Run a text in bash: it ends at the first command that fails."""
        home = where / "home"
        home.mkdir(exist_ok=True)
        environment = {
            "PATH": f"{self.commands.bin}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "COLUMNS": "80",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "NO_ALBUMENTATIONS_UPDATE": "1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "FRENCHCAT_DOCS": "full" if full else "",
            "FRENCHCAT_DOCS_FOLDER": str(self.commands.folder),
            stand_ins.SITE: ",".join(self._site.hosts),
        }
        with open(where / "printed", "w+", encoding="utf-8") as printed:
            command = ["bash", "-euo", "pipefail", "-c", text]
            ended = subprocess.run(
                command,
                cwd=where,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                timeout=LIMIT_SEC * (10 if full else 1),
            )
            printed.seek(0)
            return Ended(ended.returncode, printed.read())

    def _make(self, folder: Path) -> None:
        (folder / "data").mkdir(parents=True)
        self._lists(folder)
        made = self.shell(BUILD, folder)
        assert made.status == 0, made.output
        data = folder / "data"
        for name in ("cats", "dogs", "november", "december", "../demo-output/dataset"):
            shutil.copytree(data / "mine", data / name)
            manifest = data / name / "dataset.json"
            named = {**json.loads(manifest.read_text()), "name": Path(name).name}
            manifest.write_text(json.dumps(named))
        shutil.copytree(data / "mine" / "embeddings", folder / "laion-index")
        shutil.copytree(data / "mine" / "shards", folder / "my-img2dataset-folder")
        self._pictures(folder)
        pipelines.stable_diffusion(folder / "models" / "stable-diffusion")
        (folder / "my-rules.toml").write_text(RULES)
        (folder / "my-words.toml").write_text(WORDS)
        (folder / "keys.txt").write_text("a-key-of-some-length\n")
        head = {"0.weight": torch.ones(1, 4), "0.bias": torch.zeros(1)}
        torch.save(head, folder / "head.pth")

    def _lists(self, folder: Path) -> None:
        table = read_list(self._site.base_url)
        table = table.take(stand_ins.rows(table["planted"].to_pylist(), table))
        pq.write_table(table, folder / "my-urls.parquet")
        pq.write_table(table.slice(0, 6), folder / "urls.parquet")

    @staticmethod
    def _pictures(folder: Path) -> None:
        """Three of the dataset's own, under the names that the pages use."""
        with tarfile.open(folder / "data" / "mine" / "shards" / "00000.tar") as tar:
            members = [member for member in tar if member.name.endswith(".jpg")]
            for name, member in zip(
                ("beret.jpg", "cat.jpg", "portrait.jpg"), members, strict=False
            ):
                stored = tar.extractfile(member)
                assert stored is not None
                (folder / name).write_bytes(stored.read())


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """The pages' world, below `folder`; what runs in it ends with the `with` block."""
    os.environ["FRENCHCAT_DOCS_FOLDER"] = str(folder / "commands")
    with Commands(folder / "commands") as commands, SampleSite(0) as site:
        yield World(folder, commands, site)
