"""Plays a recorded policy: pictures of one episode, in a task of its stream."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from plasticity_bench.errors import InputError
from plasticity_bench.records.cells import POLICY, Cell, read_cell
from plasticity_bench.storage.files import cannot_read, write_bytes
from plasticity_bench.storage.tensors import read_tensors

if TYPE_CHECKING:
    import numpy as np

    from plasticity_bench.tasks.base import ControlStream


#: Pictures per second, approximately at most.
RATE = 30


class Episode(NamedTuple):
    """An episode that was played."""

    steps: int  # in the environment
    total: float  # its return, the sum of rewards
    ended: bool  # whether it ended or was truncated; False: it was left after ``longest`` steps
    pictures: list[np.ndarray]  # (H, W, 3) uint8
    rate: float  # pictures per second


def find_cell(path: Path) -> Cell:
    """The cell that a folder or one of its files belongs to. Raises InputError if there is none."""
    folder = path if path.is_dir() else path.parent
    if (folder / "config.json").exists():
        return read_cell(folder)
    known = sorted(str(found.parent) for found in folder.glob("**/config.json"))
    hint = f"; one of its cells: {known[0]}" if known else "; give runs/STREAM/METHOD"
    raise InputError(f"{path} is no cell (it has no config.json){hint}")


def play(cell: Cell, seed: int, task: int | None, longest: int) -> Episode:
    """Plays the final policy of a seed, with its most likely or mean actions.

    Args:
        cell: The recorded cell.
        seed: The seed whose policy is played, in the environment of the same seed.
        task: Number of the task; None: the last one.
        longest: Steps after which the episode is left.

    Raises:
        InputError: No agent acts on the stream, or there is no such seed or task.
    """
    import torch

    stream = _stream(cell)
    task = stream.tasks - 1 if task is None else task
    if not 0 <= task < stream.tasks:
        raise InputError(f"--task {task}: {cell.stream} has the tasks 0 to {stream.tasks - 1}")
    act = _policy(cell, seed)
    worlds = stream.worlds([seed])
    worlds.begin(task)
    pictures, total, steps, ended = [worlds.picture()], 0.0, 0, False
    every = max(1, round(stream.speed / RATE))
    while steps < longest and not ended:
        outputs = act(torch.from_numpy(worlds.observations))
        actions = outputs.argmax(-1) if stream.discrete else outputs.clamp(-1, 1)
        step = worlds.step(actions.numpy())
        total, steps = total + float(step.rewards[0, 0]), steps + 1
        ended = bool(step.terminated[0, 0] or step.truncated[0, 0])
        if steps % every == 0 and not ended:
            pictures.append(worlds.picture())
    worlds.close()
    return Episode(steps, total, ended, pictures, stream.speed / every)


def save_gif(pictures: list[np.ndarray], path: Path, rate: float) -> None:
    """Writes an animated GIF. ``rate``: pictures per second."""
    from PIL import Image

    images = [Image.fromarray(picture) for picture in pictures]
    buffer = io.BytesIO()
    images[0].save(
        buffer, "GIF", save_all=True, append_images=images[1:], duration=round(1000 / rate), loop=0
    )
    write_bytes(path, buffer.getvalue())


def _stream(cell: Cell) -> ControlStream:
    from plasticity_bench.registry.catalog import STREAMS
    from plasticity_bench.registry.create import create_stream
    from plasticity_bench.registry.settings import choice_text
    from plasticity_bench.tasks.base import ControlStream

    recorded = cell.config.stream
    # Only built-in streams have agents that act. Another name may be that of a file, whose code would be run.
    stream = (
        create_stream(choice_text(recorded.name, recorded.settings)) if recorded.name in STREAMS else None
    )
    if not isinstance(stream, ControlStream):
        raise InputError(f"nobody acts on {cell.stream}: there is nothing to watch; try plot")
    return stream


def _policy(cell: Cell, seed: int) -> Any:
    """The function from observations ``(1, E, *inputs)`` to the network's outputs."""
    import torch

    from plasticity_bench.agents.layers import trainable
    from plasticity_bench.agents.networks import StackedNetwork
    from plasticity_bench.agents.normalize import scale
    from plasticity_bench.agents.rng import SeedRng

    path = cell.trained.path(seed).with_suffix(POLICY)
    if not path.exists():
        kept = [s for s in cell.seeds() if cell.trained.path(s).with_suffix(POLICY).exists()]
        which = f"policies are kept of the seeds {', '.join(map(str, kept))}" if kept else "run it again"
        raise InputError(f"no policy of seed {seed} in {cell.path}; {which}")
    network = StackedNetwork(cell.config.network, SeedRng([seed], "init"), torch.device("cpu"), torch.float32)
    try:
        state = read_tensors(path)
        with torch.no_grad():
            for parameter, saved in zip(trainable(network.layers), state["weights"], strict=True):
                parameter[0].copy_(saved)
        network.load_extras(state)
    except OSError as error:
        raise cannot_read(path, error, "run it again") from error
    except Exception as error:  # torch.load raises nearly anything on a damaged file
        reason = str(error).partition("\n")[0][:100]
        raise InputError(f"{path} is damaged ({reason}); delete the seed and run it again") from error

    def outputs(observations: torch.Tensor) -> torch.Tensor:
        if "mean" in state:
            seen = scale(observations.numpy(), state["mean"].numpy(), state["variance"].numpy())
            observations = torch.from_numpy(seen)
        with torch.no_grad():
            return network.forward(observations)

    return outputs
