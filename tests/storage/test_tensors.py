"""Files of tensors: whatever byte is damaged, they are refused or hold what was saved."""

from __future__ import annotations

from pathlib import Path

import torch

from plasticity_bench.storage.tensors import read_tensors


def test_no_damaged_byte_changes_what_is_read(tmp_path: Path) -> None:
    path, numbers = tmp_path / "a.pt", torch.arange(64.0)
    torch.save({"weights": numbers, "task": 3}, path)
    whole, refused = path.read_bytes(), 0
    weights = whole.index(numbers.numpy().tobytes())
    for place in [*range(0, len(whole), 7), *range(weights, weights + 256)]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            found = read_tensors(path)
        except Exception:
            refused += 1
            continue
        assert not weights <= place < weights + 256
        assert found["task"] == 3
        assert torch.equal(found["weights"], numbers)
    assert refused >= 256
    path.write_bytes(whole)
    assert torch.equal(read_tensors(path)["weights"], numbers)
