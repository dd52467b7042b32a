"""Networks built without their random weights."""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from frenchcat.curate.unset_weights import UnsetWeights


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 8), nn.Embedding(20, 8), nn.LayerNorm(8))


def test_nothing_is_drawn_and_nothing_set() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    kept = torch.full((4, 4), 7.0)
    with UnsetWeights():
        made = network()
        nn.init.normal_(kept)
        nn.init.constant_(tensor=kept, val=3.0)
    assert torch.equal(torch.get_rng_state(), before)
    assert (kept == 7).all()
    assert made.load_state_dict(network().state_dict()).missing_keys == []


def test_other_threads_and_what_comes_after_are_as_ever() -> None:
    def drawn() -> torch.Tensor:
        torch.manual_seed(3)
        return nn.Linear(4, 4).weight.detach()

    wanted = drawn()
    with UnsetWeights(), ThreadPoolExecutor(1) as pool:
        assert torch.equal(pool.submit(drawn).result(), wanted)
    assert torch.equal(drawn(), wanted)
