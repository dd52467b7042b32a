"""Users' heads: LAION's shapes against torch's own forward pass, and files that do not fit."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from frenchcat.curate.config import resolve
from frenchcat.curate.errors import UserError
from frenchcat.curate.score.head import make_head
from frenchcat.curate.score.settings import HeadSettings
from tests.sample.vectors import unit_rows

D = 24
ROWS = unit_rows(9, D)


def head_settings(file: Path, **named: Any) -> HeadSettings:
    return resolve(HeadSettings, {"name": "mine", "file": str(file), **named})


def saved(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    file = tmp_path / "head.safetensors"
    save_file({name: value.detach().contiguous() for name, value in tensors.items()}, file)
    return file


def ours(file: Path, **named: Any) -> np.ndarray:
    return make_head(head_settings(file, **named), D, "synthetic").of_vectors(ROWS, ROWS)["mine"]


class Layered(nn.Module):
    """LAION keeps its sequences under the name `layers`."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.layers(rows)


class Normalised(nn.Module):
    """LAION's L/14 and B/32 NSFW heads: normalisation, then linear_1 to linear_4."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Module()
        self.norm.register_buffer("mean", torch.randn(D) * 0.1)
        self.norm.register_buffer("variance", torch.rand(D) + 0.5)
        for place, (before, after) in enumerate(((D, 64), (64, 32), (32, 16), (16, 1)), 1):
            setattr(self, f"linear_{place}", nn.Linear(before, after))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        rows = (rows - self.norm.mean) / self.norm.variance.sqrt()
        for place in (1, 2, 3):
            rows = getattr(self, f"linear_{place}")(rows).relu()
        return self.linear_4(rows).sigmoid()


def improved_aesthetic() -> nn.Module:
    """github.com/christophschuhmann/improved-aesthetic-predictor: no activation between."""
    drop, lin = nn.Dropout, nn.Linear
    return Layered(
        lin(D, 64), drop(), lin(64, 32), drop(), lin(32, 16), drop(), lin(16, 8), lin(8, 1)
    )


def nsfw_h14() -> nn.Module:
    """CLIP-based-NSFW-Detector for H/14: layers 0 3 6 9 12 15 16, nothing between the last two."""
    sizes = (D, 32, 64, 32, 16, 12, 8)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:6]):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout()]
    return Layered(*layers, nn.Linear(12, 8), nn.Linear(8, 1))


def watermark() -> nn.Module:
    """An MLP that tells two classes apart."""
    return nn.Sequential(nn.Linear(D, 48), nn.ReLU(), nn.Dropout(), nn.Linear(48, 2))


@pytest.mark.parametrize(
    ("make", "named", "ending"),
    [
        (lambda: nn.Linear(D, 1), {"activation": "none"}, lambda out: out[:, 0]),
        (improved_aesthetic, {"activation": "none"}, lambda out: out[:, 0]),
        (nsfw_h14, {}, lambda out: out[:, 0]),
        (nsfw_h14, {"output": "sigmoid"}, lambda out: out[:, 0].sigmoid()),
        (Normalised, {"output": "sigmoid"}, lambda out: out[:, 0]),
        (watermark, {}, lambda out: out.softmax(1)[:, 1]),
    ],
    ids=["aesthetic-linear", "aesthetic-mlp", "nsfw", "nsfw-sigmoid", "nsfw-norm", "watermark"],
)
def test_laions_shapes_are_torchs_forward(
    make: Callable[[], nn.Module],
    named: dict[str, str],
    ending: Callable[[torch.Tensor], torch.Tensor],
    tmp_path: Path,
) -> None:
    torch.manual_seed(3)
    module = make().eval()
    with torch.no_grad():
        for value in module.parameters():
            value.mul_(2)  # so that numbers differ enough for a wrong activation to show
        expected = ending(module(torch.from_numpy(ROWS))).numpy()
    found = ours(saved(tmp_path, module.state_dict()), **named)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert found.shape == (9,)
    assert np.ptp(found) > 1e-3


def test_a_wrong_dimension_names_both(tmp_path: Path) -> None:
    file = saved(tmp_path, nn.Linear(768, 1).state_dict())
    with pytest.raises(
        UserError, match=r"takes vectors of 768 numbers, those of synthetic have 24"
    ):
        ours(file)


def test_layers_that_do_not_chain_name_both_shapes(tmp_path: Path) -> None:
    both = nn.Sequential(nn.Linear(D, 32), nn.ReLU(), nn.Linear(16, 1))
    with pytest.raises(UserError, match=r"\(32, 24\).*\(1, 16\)"):
        ours(saved(tmp_path, both.state_dict()))


def test_too_many_outputs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\(3, 24\)"):
        ours(saved(tmp_path, nn.Linear(D, 3).state_dict()))


def test_a_bias_of_another_length(tmp_path: Path) -> None:
    file = saved(tmp_path, {"weight": torch.zeros(1, D), "bias": torch.zeros(4)})
    with pytest.raises(UserError, match=r"its bias \(4,\)"):
        ours(file)


def test_a_normalisation_of_another_length(tmp_path: Path) -> None:
    module = Normalised().state_dict()
    module["norm.mean"] = torch.zeros(5)
    with pytest.raises(UserError, match=r"shape \(5,\).*24"):
        ours(saved(tmp_path, module))


def test_no_linear_layer(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no linear layer; it contains scale \(4,\)"):
        ours(saved(tmp_path, {"scale": torch.ones(4)}))


def test_a_file_that_is_missing_or_no_safetensors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        ours(tmp_path / "none.safetensors")
    (tmp_path / "pickle.pth").write_bytes(b"\x80\x02 something else entirely")
    with pytest.raises(UserError, match="save it with"):
        ours(tmp_path / "pickle.pth")


def test_vectors_of_another_model_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, nn.Linear(D, 1).state_dict())
    assert ours(file, model="synthetic").shape == (9,)
    with pytest.raises(UserError, match=r"for vectors of ViT-L-14/openai, .* are of synthetic"):
        ours(file, model="ViT-L-14/openai")
