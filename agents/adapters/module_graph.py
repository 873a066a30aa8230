"""Which layer of a module reads which, found by tracing its ``forward`` with torch.fx.

Nothing is guessed. The next layer reads the units of a layer in order only if every operation in between is
known to keep units apart and in order. A module without parameters can prove it: it is given numbers with a
nan in one unit, and must return a nan there and nowhere else.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

#: Normalisations; those with parameters have one gain and one shift per unit or channel.
NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)

#: Torch's functions, methods and modules, in lower case without _, that treat every unit by itself.
# fmt: off
ELEMENTWISE = frozenset((
    "relu", "relu6", "leakyrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "tanh", "sigmoid", "sin",
    "softplus", "softsign", "hardtanh", "hardswish", "hardsigmoid", "logsigmoid", "tanhshrink", "softshrink",
    "hardshrink", "cos", "abs", "square",
))
# fmt: on
POOLING = frozenset(("maxpool2d", "avgpool2d", "adaptivemaxpool2d", "adaptiveavgpool2d"))
DROPOUT = frozenset(("dropout", "dropout1d", "dropout2d", "alphadropout", "featurealphadropout"))
#: Identity operations.
IDENTITY = frozenset(("identity", "contiguous", "clone", "to", "float", "double", "typeas"))
UNIT_PRESERVING = ELEMENTWISE | POOLING | DROPOUT | IDENTITY
#: Operations that may flatten a convolution's output to (examples, numbers).
FLATTENING = frozenset(("flatten", "view", "reshape", "squeeze", "mean"))
#: Linear operations (of one input); whatever is in none of these sets counts as a non-linearity.
ARITHMETIC = frozenset(("unflatten", "add", "iadd", "sub", "mul", "truediv", "neg", "cat"))
LINEAR = POOLING | DROPOUT | IDENTITY | FLATTENING | ARITHMETIC
#: Attributes and methods that read a tensor's shape or type, not its numbers.
METADATA = frozenset(("size", "dim", "numel", "ndimension", "shape", "ndim", "device", "dtype"))


@dataclass
class ModuleStructure:
    """What the trace shows about some layers and normalisations, all by name."""

    order: list[str] = field(default_factory=list)  # in which the layers compute
    hidden: set[str] = field(default_factory=set)  # those with a non-linearity before the next layer
    owners: dict[str, str] = field(default_factory=dict)  # normalisation -> the layer whose units it scales
    unordered: str = ""  # why order and hidden are not known
    unpaired: str = ""  # why it is not known that every layer reads the units of the one before it, alone


def module_structure(
    model: nn.Module, layers: Mapping[str, Any], norms: Mapping[str, nn.Module]
) -> ModuleStructure:
    """What ``model.forward`` does in training mode, at the defaults of its arguments.

    ``layers``: its nn.Linear and nn.Conv2d; ``norms``: its ``NORMALISATIONS`` with gain and shift; by name.
    """
    try:
        graph = _trace(model, {*layers.values(), *norms.values()})
    except Exception as error:  # user code may raise anything if it is given no numbers
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        return ModuleStructure(unordered=f"its forward cannot be traced ({reason})")
    return _Analysis(model, graph, layers, norms).structure()


class _Tracer(fx.Tracer):
    """Does not trace into layers, normalisations, and modules without parameters."""

    def __init__(self, whole: set[nn.Module]) -> None:
        super().__init__()
        self.whole = whole

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        bare = next(m.parameters(), None) is None and not isinstance(m, (nn.Sequential, nn.ModuleList))
        return m in self.whole or bare or super().is_leaf_module(m, module_qualified_name)


def _trace(model: nn.Module, whole: set[nn.Module]) -> fx.Graph:
    arguments = inspect.signature(model.forward).parameters.values()
    defaults = {p.name: p.default for p in arguments if p.default is not p.empty}
    modes = {module: module.training for module in model.modules()}
    try:
        return _Tracer(whole).trace(model.train(), concrete_args=defaults)
    finally:
        for module, mode in modes.items():
            module.training = mode


@dataclass
class _Path:
    """The operations from one layer's output to a layer that reads it."""

    end: str  # the reading layer's name; "" for the network's output
    nodes: list[fx.Node]  # in between


class _Analysis:
    """A trace, and what it shows."""

    def __init__(
        self, model: nn.Module, graph: fx.Graph, layers: Mapping[str, Any], norms: Mapping[str, nn.Module]
    ) -> None:
        self.graph, self.layers, self.norms = graph, layers, norms
        self.modules = dict(model.named_modules())
        self.calls: dict[str, list[fx.Node]] = {name: [] for name in (*layers, *norms)}
        self.metadata: set[fx.Node] = set()
        for node in graph.nodes:
            if node.op == "call_module":
                self.calls.get(str(node.target), []).append(node)
            reads_metadata = node.op != "call_module" and self._label(node) in METADATA
            inputs = node.all_input_nodes
            if reads_metadata or (inputs and node.op != "output" and self.metadata.issuperset(inputs)):
                self.metadata.add(node)
        self.paths = {
            name: [path for call in self.calls[name] for path in self._paths(call)] for name in layers
        }

    def structure(self) -> ModuleStructure:
        if unordered := self._unordered():
            return ModuleStructure(unordered=unordered)
        position = {node: i for i, node in enumerate(self.graph.nodes)}
        order = sorted(self.layers, key=lambda name: position[self.calls[name][0]])
        result = ModuleStructure(order)
        for name in order:
            between = [node for path in self.paths[name] if path.end for node in path.nodes]
            if any(self._bends(node) for node in between):
                result.hidden.add(name)
        for name in self.norms:
            owner = self._owner(name)
            if owner is not None and owner not in result.owners.values():
                result.owners[name] = owner
        reasons = (self._unpaired(name, order[i + 1], result) for i, name in enumerate(order[:-1]))
        result.unpaired = next(filter(None, reasons), "")
        return result

    def _unordered(self) -> str:
        used = {str(node.target).rpartition(".")[0] for node in self.graph.nodes if node.op == "get_attr"}
        for name in self.layers:
            if name in used:
                return f'the parameters of "{name}" are used outside it'
            if not self.calls[name]:
                return f'"{name}" takes no part in forward'
        return ""

    def _unpaired(self, name: str, following: str, result: ModuleStructure) -> str:
        """Why it is not known that ``following``, and nothing else, reads the units of ``name``."""
        for used in (name, following):
            if len(self.calls[used]) > 1:
                return f'"{used}" is used {len(self.calls[used])} times in one forward'
            if type(self.layers[used]).forward not in (nn.Linear.forward, nn.Conv2d.forward):
                return f'"{used}" has a forward of its own'
        for path in self.paths[name]:
            for node in path.nodes:
                if len(self._inputs(node)) > 1:
                    what = self._label(node)
                    return f'the units of "{name}" are joined with others ("{what}"), as in a residual sum'
        ends = sorted(path.end or "the output" for path in self.paths[name])
        if ends != [following]:
            return f'the units of "{name}" are read by {" and ".join(ends) or "nothing"}'
        return self._mixed(name, self.paths[name][0], result)

    def _mixed(self, name: str, path: _Path, result: ModuleStructure) -> str:
        """Why the units of ``name`` are not those that the layer at the path's end reads, in order."""
        layer, reader, between = (
            self.layers[name],
            self.layers[path.end],
            f'between "{name}" and "{path.end}"',
        )
        images, flat = isinstance(layer, nn.Conv2d), False
        units, read, side = layer.weight.shape[0], reader.weight.shape[1], (3, 3) if images else ()
        for node in path.nodes:
            label = self._label(node)
            if str(node.target) in self.norms and node.op == "call_module":
                if result.owners.get(str(node.target)) != name:
                    return f'"{node.target}" {between} is no normalisation of these units alone'
            elif label in FLATTENING:
                if not self._flattens(node):
                    return f'"{label}" {between} may mix units'
                flat = True
            elif not self._keeps(node, layer.weight.new_empty(2, units, *side * (not flat))):
                return f'"{label}" {between} is not known to keep units apart'
        if isinstance(reader, nn.Conv2d) and (not images or flat or reader.groups > 1):
            return f'"{path.end}" reads groups of channels, or images made of units, {between}'
        if images and isinstance(reader, nn.Linear):
            if not flat:
                return f"channels are not flattened {between}"
            return "" if read % units == 0 else f"{units} channels become {read} numbers {between}"
        return "" if read == units else f"{units} units become {read} {between}"

    def _paths(self, start: fx.Node) -> list[_Path]:
        """The paths from ``start`` to layers and to the output; nodes that join branches are visited once."""
        found: list[_Path] = []
        seen: set[fx.Node] = set()

        def walk(node: fx.Node, nodes: list[fx.Node]) -> None:
            for user in node.users:
                if user in self.metadata or user in seen:
                    continue
                if user.op == "call_module" and str(user.target) in self.layers:
                    found.append(_Path(str(user.target), nodes))
                elif user.op == "output":
                    found.append(_Path("", nodes))
                else:
                    seen.add(user)
                    walk(user, [*nodes, user])

        walk(start, [])
        return found

    def _owner(self, norm: str) -> str | None:
        """The layer whose output this normalisation scales, unit by unit."""
        if len(self.calls[norm]) != 1:
            return None
        module: Any = self.norms[norm]
        (node,) = self.calls[norm]
        while len(inputs := self._inputs(node)) == 1:
            (node,) = inputs
            name = str(node.target)
            if node.op == "call_module" and name in self.layers:
                layer = self.layers[name]
                of_rows = isinstance(layer, nn.Conv2d) and isinstance(module, nn.LayerNorm)
                return name if module.weight.shape == layer.weight.shape[:1] and not of_rows else None
            if not self._keeps(node):
                return None
        return None

    def _keeps(self, node: fx.Node, like: torch.Tensor | None = None) -> bool:
        """Whether it keeps units apart and in order; ``like``: a tensor that a module may be tried on."""
        module = self.modules[str(node.target)] if node.op == "call_module" else None
        maker = type(module) if module is not None else node.target
        torchs = (getattr(maker, "__module__", None) or "torch").split(".")[0] == "torch"
        if torchs and self._label(node) in UNIT_PRESERVING:
            return True
        return module is not None and like is not None and _is_elementwise(module, like)

    def _bends(self, node: fx.Node) -> bool:
        """Whether it is a non-linearity: everything that is not known to be linear."""
        norm = node.op == "call_module" and isinstance(self.modules[str(node.target)], NORMALISATIONS)
        return not norm and self._label(node) not in LINEAR

    def _inputs(self, node: fx.Node) -> list[fx.Node]:
        return [given for given in node.all_input_nodes if given not in self.metadata]

    def _label(self, node: fx.Node) -> str:
        """A module's type, a function's, method's or attribute's name; in lower case without _."""
        if node.op == "call_module":
            name = type(self.modules[str(node.target)]).__name__
        elif node.op == "call_function" and node.target is getattr:
            name = str(node.args[1])
        else:
            name = str(getattr(node.target, "__name__", node.target))
        return name.lower().replace("_", "")

    def _flattens(self, node: fx.Node) -> bool:
        """Whether it flattens to ``(examples, numbers)``, with every unit's numbers next to each other."""
        if node.op == "call_module":
            module: Any = self.modules[str(node.target)]
            return isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1)
        given: list[Any] = [*node.args[1:], *node.kwargs.values()]
        label, first = self._label(node), given[0] if given else None
        listed = list(first) if isinstance(first, (list, tuple)) else None
        if label == "mean":
            return listed in ([2, 3], [-2, -1], [-1, -2])
        if label == "squeeze":
            return bool(given) and all(dim in (2, 3, -1, -2) for dim in given)
        if label == "flatten":
            return given in ([1], [1, -1])
        return len(given if listed is None else listed) == 2


@torch.no_grad()
def _is_elementwise(module: nn.Module, like: torch.Tensor) -> bool:
    """Whether a nan in a unit comes out there and nowhere else; tried for the first, a middle and the
    last."""
    modes = {part: part.training for part in module.modules()}
    try:
        with torch.random.fork_rng(devices=[]):
            module.eval()
            for unit in {0, like.shape[1] // 2, like.shape[1] - 1}:
                x = torch.linspace(-1, 1, like.numel()).view(like.shape).to(like)
                x[:, unit] = float("nan")
                if not torch.equal(module(x.clone()).isnan(), x.isnan()):
                    return False
    except Exception:  # a user's module may raise anything: then nothing is proven
        return False
    finally:
        for part, mode in modes.items():
            part.training = mode
    return True
