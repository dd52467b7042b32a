"""Build the picture head: ConSE in closed form, in the trained text tower's space.

Reads ``<work>/text.pt`` and ``tokenizer/``, ``pictures.npy``, the trunk's classifier; writes
``<work>/head.pt``, the weights of open_clip's ``timm_proj: mlp`` head (1280-1024-512, GELU).

ConSE (Norouzi et al., arXiv:1312.5650) places a picture at the mean of its classes' vectors,
weighted by the classifier's softmax; open_clip's config can say no softmax. But rows are scaled to
unit length in the end, so exp(logit) a class is enough; and for x below its minimum at -0.75,
-GELU(x) = |x| Phi(-|x|) falls towards zero about as exp does over the logits that matter. A
hidden unit a class, its logit shifted there, gives ConSE's direction (mean cosine .99 on the
held-out photographs) without any training; a head fitted by gradient descent came to .64.

The classifier was made for photographs and sees envelopes and clocks in all that is drawn, or
stands on white. Each class's logit is therefore lowered by a share of the log of how much too
often it is seen in drawings (a prior correction as in Saerens et al., Neural Computation 14(1),
with flat priors): recall rises on drawings, and is as good on photographs.

    python -m tools.mini.picture_side
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tools.mini.classes import CLASSES, class_vectors
from tools.mini.materials import work_folder
from tools.mini.tower import build, text_encoder
from tools.mini.trunk import load_trunk

SCALE = 0.26  # of the logits; with TOP it lays those that matter where -GELU falls as exp does
TOP = 16.0  # the logit that comes to lie at GELU's minimum; hardly any is larger
MINIMUM = -0.75
GAIN = 100.0  # lengthens the class vectors, as hidden values are small
CENTRED = 0.3  # share of the class vectors' mean that is taken off them
PRIOR_SHARE = 0.5  # of the correction for classes that drawings look like


def prior(logits: torch.Tensor) -> torch.Tensor:
    """(N, 1000) logits -> (1000,) log of each class's mean probability over a flat share."""
    return torch.log(logits.softmax(-1).mean(0) * CLASSES)


def build_head(work: Path) -> None:
    """Write head.pt; hidden units beyond the classes stay zero."""
    classifier = load_trunk().classifier
    assert isinstance(classifier, nn.Linear)
    weight, bias = classifier.weight.detach(), classifier.bias.detach()
    drawings = torch.from_numpy(np.load(work / "pictures.npy")).float()  # (N, 1280)
    bias = bias - PRIOR_SHARE * prior(drawings @ weight.T + bias)
    vectors = torch.from_numpy(class_vectors(text_encoder(work)))
    vectors = F.normalize(vectors - CENTRED * vectors.mean(0), dim=-1)
    mlp = build(8).visual.head.mlp
    state = {f"mlp.{name}": torch.zeros_like(value) for name, value in mlp.state_dict().items()}
    state["mlp.fc1.weight"][:CLASSES] = SCALE * weight
    state["mlp.fc1.bias"][:CLASSES] = SCALE * (bias - TOP) + MINIMUM
    state["mlp.fc2.weight"][:, :CLASSES] = -GAIN * vectors.T
    torch.save(state, work / "head.pt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the picture head.")
    parser.add_argument("--work")
    build_head(work_folder(parser.parse_args().work))
