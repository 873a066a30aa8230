"""Reading files that ``torch.save`` wrote: checkpoints and policies. Only data is read, no code is run."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any


def read_tensors(path: Path, device: Any = "cpu") -> Any:
    """What ``torch.save`` wrote, if every part has its checksum; torch alone would load flipped bits.

    Args:
        path: The file, a zip archive that holds a checksum (CRC-32) of every part.
        device: Where the tensors are placed.

    Returns:
        Tensors and plain values.

    Raises:
        OSError: The file cannot be read.
        Exception: It is damaged, or holds something other than data; ``torch.load`` raises nearly anything.
    """
    import torch

    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if (part := archive.testzip()) is not None:
            raise ValueError(f"the checksum of its part {part} differs from the one recorded")
    return torch.load(io.BytesIO(data), weights_only=True, map_location=device)
