"""The model's thread: many texts in one batch, the same vectors, and no one left waiting."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.errors import UserError
from frenchcat.index.service.batching import Encoder
from frenchcat.index.service.metrics import Metrics
from tests.index.service.served import CAPTIONS


class Held:
    """A model that waits to be let go, so that queries pile up behind the first one."""

    def __init__(self, clip: Clip) -> None:
        self.clip, self.go, self.asked = clip, threading.Event(), threading.Event()
        self.batches: list[int] = []

    def encode_texts(self, texts: Sequence[str]) -> Any:
        self.asked.set()
        assert self.go.wait(60)
        self.batches.append(len(texts))
        return self.clip.encode_texts(texts)


def test_texts_that_wait_are_encoded_together_and_each_gets_its_own(clip: Clip) -> None:
    held = Held(clip)
    encoder = Encoder(lambda: held, Metrics())  # type: ignore[arg-type, return-value]

    async def ask() -> Any:
        first = asyncio.create_task(encoder.text("the first"))
        await asyncio.to_thread(held.asked.wait, 60)
        others = [asyncio.create_task(encoder.text(text)) for text in CAPTIONS * 10]
        await asyncio.sleep(0)  # each of them runs until it waits
        held.go.set()
        return await first, await asyncio.gather(*others)

    first, others = asyncio.run(ask())
    encoder.close()
    assert held.batches == [1, 64, 16]
    # A batch's numbers differ from a lone text's by rounding (the towers run in bfloat16).
    expected = np.tile(clip.encode_texts(CAPTIONS), (10, 1))
    assert np.einsum("nd,nd->n", np.stack(others), expected).min() > 0.999
    assert first @ clip.encode_texts(["the first"])[0] > 0.999


def test_a_text_is_encoded_once(clip: Clip) -> None:
    held = Held(clip)
    held.go.set()
    encoder = Encoder(lambda: held, Metrics())  # type: ignore[arg-type, return-value]

    async def ask() -> None:
        first = await encoder.text("a cat")
        assert (await encoder.text("a cat") == first).all()

    asyncio.run(ask())
    encoder.close()
    assert held.batches == [1]


def test_a_model_that_does_not_load_is_told_to_all_and_not_tried_for_each(clip: Clip) -> None:
    tries = []

    def load() -> Clip:
        tries.append(1)
        raise UserError("no weights here")

    encoder = Encoder(load, Metrics())

    async def ask() -> None:
        for _ in range(3):
            with pytest.raises(UserError, match="no weights here"):
                await encoder.text("a cat")

    asyncio.run(ask())
    encoder.close()
    assert len(tries) == 1


def test_who_gives_up_waiting_costs_the_others_nothing(clip: Clip) -> None:
    held = Held(clip)
    encoder = Encoder(lambda: held, Metrics())  # type: ignore[arg-type, return-value]

    async def ask() -> Any:
        running = asyncio.create_task(encoder.text("running"))
        await asyncio.to_thread(held.asked.wait, 60)
        gone = asyncio.create_task(encoder.text("gone"))
        stays = asyncio.create_task(encoder.text("stays"))
        await asyncio.sleep(0)  # both run until they wait
        gone.cancel()
        await asyncio.wait([gone])
        held.go.set()
        return await asyncio.gather(running, stays)

    _, stays = asyncio.run(ask())
    encoder.close()
    assert sum(held.batches) == 2
    assert stays @ clip.encode_texts(["stays"])[0] > 0.999
