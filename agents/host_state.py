"""Python-side state on which a captured update depends, and what such an update must not do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from plasticity_bench.agents.layers import Layer
from plasticity_bench.agents.methods import Method
from plasticity_bench.agents.rng import SeedRng

if TYPE_CHECKING:
    from plasticity_bench.agents.trained_network import TrainedNetwork

#: Operations that make the host wait for the device.
SYNCHRONISING = frozenset(
    {
        *("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "bincount"),
        *("_unique2", "unique_dim", "unique_consecutive", "repeat_interleave", "allclose"),
        # Solvers: the host checks whether they succeeded.
        *("_linalg_eigh", "_linalg_eigvals", "linalg_eig", "_linalg_svd", "linalg_lstsq", "linalg_qr"),
        *("linalg_inv_ex", "_linalg_solve_ex", "linalg_cholesky_ex", "linalg_lu_factor_ex", "_linalg_det"),
    }
)

#: A method with the values of its ``schedule``.
Schedules = list[tuple[Method, dict[str, Any]]]


class Watch(TorchDispatchMode):
    """Observes every torch operation: ``found`` is the first reason why an update cannot be captured, and
    ``external`` holds the tensors that existed before."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.found = ""
        self.external: list[torch.Tensor] = []
        self._known: dict[int, torch.Tensor] = {}  # kept, so that no other takes its memory

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        given = _tensors((args, kwargs or {}))
        if not self.found:
            self.found = self._objection(name, given)
        for tensor in given:
            if self._new(tensor):
                self.external.append(tensor)
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self._new(tensor)
        return result

    def _objection(self, name: str, given: Sequence[torch.Tensor]) -> str:
        if name in SYNCHRONISING:
            return f"waits for the device in {name}"
        if name.startswith("index") and any(t.dtype in (torch.bool, torch.uint8) for t in given[1:]):
            return f"waits for the device in {name}, by a mask"
        # A tensor without dimensions is passed as a number: host_state looks at those that are kept.
        moved = [t for t in given if t.dim() or name in ("_to_copy", "copy_")]
        if elsewhere := {t.device.type for t in moved} - {self.device.type}:
            return f"moves tensors between {elsewhere.pop()} and {self.device.type} in {name}"
        return ""

    def _new(self, tensor: torch.Tensor) -> bool:
        key = tensor.untyped_storage()._cdata
        if key in self._known:
            return False
        self._known[key] = tensor
        return True


def host_state(trained: TrainedNetwork, draws: bool = False) -> dict[str, Any]:
    """Path -> address of a tensor or value of a number, for the method, the optimizer and the layers.
    Attributes in a method's ``schedule`` are left out, and the states of random generators too unless
    ``draws``."""
    network = trained.network
    passes = [type(trained.gradients), type(trained._predict), trained.gradients.keep_features]
    roots = {
        "the method": trained.method,
        "the optimizer": vars(trained.optimizer),
        "the network": [network.flat, network.gradient, list(trained.layers), network.rng],
        "the passes": [str(item) for item in passes],
    }
    return state_of(roots, draws, on_host=network.flat.device.type == "cpu")


def state_of(root: Any, draws: bool = False, on_host: bool = True) -> dict[str, Any]:
    """Path -> address or value, for everything that ``root`` refers to. ``on_host``: the network is on the
    CPU."""
    walk = _Walk(draws, on_host)
    walk.into(root, "")
    return walk.found


def changed_paths(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Paths whose entries differ."""
    return [path for path in {**before, **after} if before.get(path) != after.get(path)]


def schedules_of(method: Method) -> Schedules:
    """The method, and the parts of a composition, with copies of the values of their ``schedule``."""
    own = [(method, {name: _copied(getattr(method, name)) for name in method.schedule})]
    return own + [found for part in getattr(method, "parts", ()) for found in schedules_of(part)]


def set_schedules(saved: Schedules) -> None:
    """Restores the values of ``schedules_of``."""
    for method, values in saved:
        for name, value in values.items():
            setattr(method, name, _copied(value))


class _Walk:
    """Collects what can be reached from an object."""

    def __init__(self, draws: bool, on_host: bool) -> None:
        self.draws, self.on_host = draws, on_host
        self.found: dict[str, Any] = {}
        self._seen: set[int] = set()

    def into(self, value: Any, path: str) -> None:
        found = self.found
        if isinstance(value, torch.Tensor):
            plain = type(value) in (torch.Tensor, torch.nn.Parameter)
            found[path] = (value.data_ptr() if plain else id(value), tuple(value.shape), value.stride())
            found[path] += (value.dtype, value.device)
            if not value.dim() and value.device.type == "cpu" and not self.on_host:
                found[path] += (value.item(),)
            return
        if value is None or isinstance(value, (bool, int, float, str, torch.dtype, torch.device)):
            found[path] = repr(value)
            return
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        if isinstance(value, SeedRng):
            if self.draws:
                found[f"{path} (random numbers)"] = value.state_dict()
            return
        for name, part in _parts(value):
            self.into(part, f"{path}.{name}".strip("."))
        if isinstance(value, (Mapping, list, tuple)):
            found[f"{path} (size)"] = len(value)
        elif not hasattr(value, "__dict__"):  # it has no attributes to look at
            found[path] = id(value)


def _parts(value: Any) -> list[tuple[str, Any]]:
    held: dict[str, Any] = {}
    if isinstance(value, Mapping):
        held.update({str(name): part for name, part in value.items()})
    elif isinstance(value, (list, tuple)):
        held.update({str(i): part for i, part in enumerate(value)})
    elif isinstance(value, Layer):  # features are of the last batch
        names = [f.name for f in dataclasses.fields(value)]
        held.update({name: getattr(value, name) for name in names if name != "features"})
    if not isinstance(value, (type, Layer)) and not callable(value):
        held.update(getattr(value, "__dict__", {}))
    if isinstance(value, Method):
        held = {name: part for name, part in held.items() if name not in value.schedule}
    return list(held.items())


def _copied(value: Any) -> Any:
    """Copies of lists and dicts, with the same tensors."""
    if isinstance(value, list):
        return [_copied(part) for part in value]
    return {key: _copied(part) for key, part in value.items()} if isinstance(value, dict) else value


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]
