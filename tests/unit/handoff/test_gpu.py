from __future__ import annotations

import pytest
import torch

from nightmill.handoff import Batches, Plan, Side, Window, batches, build_index, pin, select_samples

from .conftest import EVERY, series

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.fixture
def pair(gold, monkeypatch) -> tuple[Batches, Batches]:
    """The same plan on the CPU and on the GPU, two batches at a time."""
    monkeypatch.setattr(batches, "AT_ONCE", 2**17)
    pinned = pin(gold(*[series(f"e{e}", range(4000), base=1000 * e) for e in range(4)]))
    index = build_index(pinned, EVERY)
    plan = Plan(select_samples(index, Window(24, 6)), 256, seed=0)
    sides = {"side": Side(pinned, index, ["x2"], lookback=3)}
    on_cpu, on_gpu = (
        Batches(pinned, index, plan, features=["x", "x2"], sides=sides, device=d) for d in ("cpu", "cuda")
    )
    return on_cpu, on_gpu


def tensors(batch) -> list[torch.Tensor]:
    return [item for item in (*batch[:-1], *batch.more.values()) if item.numel()]


def test_batches_on_the_gpu_equal_those_on_the_cpu_though_buffers_are_reused(pair):
    on_cpu, on_gpu = pair
    kept = []
    for batch in on_gpu.epoch(0):
        assert all(item.is_cuda for item in tensors(batch))
        torch.cuda._sleep(2_000_000)  # the GPU lags behind, so that copies are in flight while buffers are refilled
        kept.append([item.clone() for item in tensors(batch)])
    assert len(kept) == on_cpu.steps
    for batch, copies in zip(on_cpu.epoch(0), kept, strict=True):
        assert all(torch.equal(item, copy.cpu()) for item, copy in zip(tensors(batch), copies, strict=True))


def test_buffers_are_pinned_and_stay_the_same_over_epochs(pair):
    on_gpu = pair[1]
    list(on_gpu.epoch(0))
    slots = on_gpu._spare[0]
    places = [slot.flat.data_ptr() for slot in slots]
    assert all(item.is_pinned() for slot in slots for item in tensors(slot.host))
    list(on_gpu.epoch(1))
    assert [slot.flat.data_ptr() for slot in on_gpu._spare[0]] == places
