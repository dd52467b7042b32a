"""Workers that download do without torch and a downloader; nobody else is told there is none."""

import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

UNUSED = {"torch", "ray", "wandb", "pandas"}


def _in_a_worker() -> tuple[set[str], bool, str]:
    """What came in with img2dataset, whether torch can be had later, what the writer is."""
    from frenchcat.curate.download.upstream import img2dataset_module

    writer = img2dataset_module("writer").WebDatasetSampleWriter.__name__
    came = UNUSED & set(sys.modules)
    import torch

    return came, hasattr(torch, "Tensor"), writer


def test_a_worker_imports_the_writer_without_torch_and_torch_afterwards() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert pool.submit(_in_a_worker).result() == (set(), True, "WebDatasetSampleWriter")


def test_a_process_of_its_own_has_all_of_both_packages() -> None:
    code = """
from frenchcat.curate.download.upstream import img2dataset_module
for name in ("resizer", "writer"):
    img2dataset_module(name)
import img2dataset, torch.utils.data, webdataset
assert callable(img2dataset.download)
assert issubclass(webdataset.WebLoader, object)
assert issubclass(webdataset.DataPipeline, torch.utils.data.IterableDataset)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
