"""The bundled model's own towers against open_clip's over the same folder."""

import json
import subprocess
import sys

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from frenchcat.curate.clip.bundled_text import BundledText, gelu
from frenchcat.curate.clip.model import Clip, load_clip
from frenchcat.curate.clip.text import MAX_CHARS, shortened
from frenchcat.curate.clip.weights import MINI
from tests.curate.clip.models import CAPTIONS, clip_settings, reference_pictures, reference_texts
from tests.sample.pictures import random_pictures

TOKENS = open_clip.get_tokenizer(f"local-dir:{MINI}")
TEXT = BundledText(MINI)
# What starting to search must not import: each costs a second or more.
HEAVY = ("torch", "open_clip", "torchvision", "timm", "transformers")
ENCODE = f"""
import json, sys
from frenchcat.curate.clip import ClipSettings
from frenchcat.curate.clip.model import load_clip
load_clip(ClipSettings()).encode_texts(["french cat"])
print(json.dumps([name for name in {HEAVY} if name in sys.modules]))
"""


@pytest.fixture(scope="module")
def clip() -> Clip:
    return load_clip(clip_settings(precision="fp32", batch_size=2))


def test_texts_equal_open_clip(clip: Clip) -> None:
    """In batches of two of unequal length, and longer than the context."""
    captions = [*CAPTIONS, "un chat &amp; un béret", "猫", "  white \n space "]
    expected = reference_texts(MINI, captions)
    np.testing.assert_allclose(clip.encode_texts(captions), expected, atol=2e-6)


def test_pictures_equal_open_clip(clip: Clip) -> None:
    pictures = random_pictures(3)
    expected = reference_pictures(MINI, pictures)
    assert (clip.encode_images(pictures) * expected).sum(1).min() > 0.99999


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=300))
@example("<eos> <pad> a cat")
@example("caf\u00c3\u00a9 &lt;b&gt;")
@example("word " * 60)
@example("  " + "word " * 3000)
@example("x" * 10_000)
def test_any_text_has_open_clips_tokens(text: str) -> None:
    found = TEXT.tokens([text])[0]
    expected = TOKENS([text])[0].numpy()
    np.testing.assert_array_equal(found, expected[: len(found)])
    assert not expected[len(found) :].any()  # what was left out is padding


def test_of_a_text_without_end_a_model_is_given_what_can_reach_it() -> None:
    assert len(shortened("\n" * 10_000 + "a cat" * 1_000_000)) == MAX_CHARS
    assert shortened("\n" * 10_000 + "a cat") == "a cat"


def test_a_text_does_not_depend_on_its_batch(clip: Clip) -> None:
    alone = np.concatenate([clip.encode_texts([caption]) for caption in CAPTIONS])
    np.testing.assert_allclose(clip.encode_texts(CAPTIONS), alone, atol=1e-6)


def test_the_logit_scale_is_open_clips(clip: Clip) -> None:
    expected = float(open_clip.create_model(f"local-dir:{MINI}").logit_scale.detach().exp())
    assert clip.logit_scale == pytest.approx(expected)


def test_gelu_is_torchs() -> None:
    x = np.linspace(-9, 9, 10_001, dtype=np.float32)
    expected = torch.nn.functional.gelu(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(gelu(x), expected, atol=1e-6)


def test_a_query_imports_nothing_heavy() -> None:
    run = subprocess.run([sys.executable, "-c", ENCODE], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == []
