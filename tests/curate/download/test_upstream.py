"""Worker processes that download do without torch; nobody else is told that there is none."""

import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest


def _in_a_worker() -> tuple[bool, bool, str]:
    """Whether torch came in with img2dataset, whether it can be had later, what the writer is."""
    from frenchcat.curate.download.upstream import img2dataset_module

    writer = img2dataset_module("writer").WebDatasetSampleWriter.__name__
    came = "torch" in sys.modules
    import torch

    return came, hasattr(torch, "Tensor"), writer


def test_a_worker_imports_the_writer_without_torch_and_torch_afterwards() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert pool.submit(_in_a_worker).result() == (False, True, "WebDatasetSampleWriter")


@pytest.mark.parametrize("module", ["resizer", "writer"])
def test_a_process_of_its_own_has_webdatasets_loader(module: str) -> None:
    code = f"""
from frenchcat.curate.download.upstream import img2dataset_module
img2dataset_module({module!r})
import torch.utils.data, webdataset
assert issubclass(webdataset.WebLoader, object)
assert issubclass(webdataset.DataPipeline, torch.utils.data.IterableDataset)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
