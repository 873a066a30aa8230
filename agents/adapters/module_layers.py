"""The layers of any torch module, as methods see them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from plasticity_bench.agents.adapters.module_graph import NORMALISATIONS, module_structure
from plasticity_bench.agents.layers import Layer
from plasticity_bench.errors import InputError

#: Types of modules that may have parameters.
SUPPORTED = (nn.Linear, nn.Conv2d, *NORMALISATIONS)


@dataclass(frozen=True)
class ModuleLayers:
    """One network: its layers in the order in which they compute, and the module of each."""

    layers: list[Layer]
    modules: list[nn.Module]
    norms: list[tuple[Layer, nn.Module]] = field(default_factory=list)  # whose gain and shift a layer has
    absent: list[nn.Parameter] = field(default_factory=list)  # zeros that stand for missing biases
    unordered: str = ""  # why it is not known which layers are hidden and which is the last
    unpaired: str = ""  # why it is not known which layer reads which units


def module_layers(model: nn.Module) -> ModuleLayers:
    """The nn.Linear and nn.Conv2d of a module, each perhaps with a normalisation after it.

    ``layer.name`` is the module's name in the model. The initial distribution is torch's default, uniform on
    +-1/sqrt(fan_in). A layer without a bias has zeros that are part of no network as its bias.

    Raises InputError for other modules with parameters, for shared parameters, and for a normalisation of
    something else.
    """
    if isinstance(model, SUPPORTED):
        model = nn.Sequential(model)
    found = dict(_parametrised(model))
    norms = {name: module for name, module in found.items() if isinstance(module, NORMALISATIONS)}
    modules = {name: module for name, module in found.items() if name not in norms}
    if not modules:
        raise InputError("methods need a network with at least one nn.Linear or nn.Conv2d")
    structure = module_structure(model, modules, norms)
    absent: list[nn.Parameter] = []
    layers = {name: _layer(name, module, absent) for name, module in modules.items()}
    owners = structure.owners if not structure.unordered else _neighbours(found, norms)
    for name, norm in norms.items():
        if name not in owners:
            raise InputError(
                f'methods cannot be attached to this network: "{name}" ({type(norm).__name__}) does not, '
                "alone, normalise what an nn.Linear or nn.Conv2d gives"
            )
        layers[owners[name]].gain, layers[owners[name]].shift = norm.weight, norm.bias
    for name in structure.hidden:
        layers[name].hidden = True
    order = structure.order or list(layers)
    return ModuleLayers(
        [layers[name] for name in order],
        [modules[name] for name in order],
        [(layers[owners[name]], norm) for name, norm in norms.items()],
        absent,
        structure.unordered,
        structure.unordered or structure.unpaired,
    )


def _parametrised(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Every module with parameters of its own, by its name. Raises InputError for what is not supported."""
    seen: dict[nn.Parameter, str] = {}
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        whole = {"weight"} if isinstance(module, (nn.Linear, nn.Conv2d)) else {"weight", "bias"}
        if isinstance(module, SUPPORTED) and (own or not isinstance(module, NORMALISATIONS)):
            fits = whole <= own.keys() <= {"weight", "bias"}
        else:
            fits = not any(parameter.requires_grad for parameter in own.values())
        if not fits:
            raise InputError(
                f'methods cannot be attached to a {type(module).__name__} like "{name}" '
                f"(its own parameters: {', '.join(own) or 'none'}): supported are nn.Linear, nn.Conv2d, a "
                "normalisation with gain and shift after each, and modules without parameters"
            )
        for key, parameter in own.items():
            if isinstance(parameter, nn.parameter.UninitializedParameter):
                raise InputError(f'"{name}" has no parameters yet: run one forward pass, then attach')
            if parameter in seen:
                raise InputError(
                    f'"{name}.{key}" and "{seen[parameter]}" are one tensor: methods cannot be attached to '
                    "networks that share parameters"
                )
            seen[parameter] = f"{name}.{key}"
        if own and isinstance(module, SUPPORTED):
            yield name, module


def _layer(name: str, module: Any, absent: list[nn.Parameter]) -> Layer:
    weight, bias = module.weight, module.bias
    bound = math.prod(weight.shape[1:]) ** -0.5
    kind = "conv" if isinstance(module, nn.Conv2d) else "linear"
    if bias is None:
        bias = nn.Parameter(weight.new_zeros(weight.shape[0]))
        bias.grad = torch.zeros_like(bias)
        absent.append(bias)
        return Layer(name, kind, weight, bias, False, bound, 0.0, pooled=True)
    return Layer(name, kind, weight, bias, False, bound, bound, pooled=True)


def _neighbours(found: Mapping[str, Any], norms: Mapping[str, nn.Module]) -> dict[str, str]:
    """Normalisation -> the layer of its width that was registered last before it. Only resets of units depend
    on whose gain it is, and they are refused if the module could not be traced."""
    owners: dict[str, str] = {}
    before: list[str] = []
    for name, module in found.items():
        if name not in norms:
            before.insert(0, name)
            continue
        fitting = (layer for layer in before if found[layer].weight.shape[:1] == module.weight.shape)
        owner = next((layer for layer in fitting if layer not in owners.values()), None)
        if owner is not None:
            owners[name] = owner
    return owners
