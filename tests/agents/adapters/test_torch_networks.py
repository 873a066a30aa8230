"""Methods on convolutions, residual networks and whatever else a torch module may be."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import resnet18

from plasticity_bench.agents.adapters.module_layers import module_layers
from plasticity_bench.agents.adapters.torch_adapter import attach
from plasticity_bench.agents.layers import Layer, trainable
from plasticity_bench.errors import InputError
from plasticity_bench.registry.catalog import METHODS
from plasticity_bench.registry.choices import choose_method
from plasticity_bench.specs import NetworkSpec
from tests.support.attached import EAGER, INSTANCES, check_against_the_learner, residual
from tests.support.method_names import ARCHITECTURES

#: Two convolutions with 2x2 max pooling: 16 -> 14 -> 7 -> 5 -> 2 pixels a side.
SPEC = NetworkSpec((2, 16, 16), 4, (7,), channels=(3, 5), kernel=3)


class Convolutions(nn.Module):
    """The learner's network, written as a user would write it."""

    def __init__(self, layers: list[Layer] | None = None) -> None:
        super().__init__()
        self.head = nn.Linear(7, 4)  # registered before what it reads
        self.first, self.second = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 5, 3)
        self.wide = nn.Linear(20, 7)
        modules = (self.first, self.second, self.wide, self.head)
        ours = [p for module in modules for p in module.parameters()]
        for mine, other in zip(ours, trainable(layers) if layers else (), strict=bool(layers)):
            mine.data = other.detach()[0].clone()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(functional.relu(self.first(x)), 2)
        x = functional.max_pool2d(functional.relu(self.second(x)), 2)
        return self.head(torch.relu(self.wide(x.view(x.size(0), -1))))


class InOrder(Convolutions):
    """Parameters in the order of the learner's, for the comparison."""

    def parameters(self, recurse: bool = True) -> Any:
        return iter([p for m in (self.first, self.second, self.wide, self.head) for p in m.parameters()])


#: Methods that see activations before pooling in the learner, but the next layer's inputs here.
BEFORE_POOLING = {name for name in INSTANCES if name.startswith((EAGER["redo"], EAGER["snr"], "l2-er"))}


@pytest.mark.parametrize("name", [name for name in INSTANCES if name not in BEFORE_POOLING])
def test_convolutions_do_what_they_do_in_the_learner(name: str) -> None:
    check_against_the_learner(name, "adam", SPEC, InOrder)


def train(model: nn.Module, steps: int, optimizer: torch.optim.Optimizer, attached: Any = None) -> None:
    """Two tasks on images of two channels."""
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        x, y = torch.randn(6, 2, 8, 8, generator=generator), torch.arange(6) % 3
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        if attached is not None and step == steps // 2:
            attached.task_end()


def vector(model: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def after(method: str, make: Callable[[], nn.Module] = residual) -> torch.Tensor:
    """All parameters after some updates with a method, or "" for none."""
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    train(model, 8, optimizer, attach(method, model, optimizer) if method else None)
    return vector(model)


@pytest.mark.parametrize("name", sorted(set(METHODS) - ARCHITECTURES))
def test_every_method_on_a_residual_network_acts_or_says_why_not(name: str) -> None:
    settings = EAGER.get(name, name)
    if choose_method(name).cls.needs_features:
        with pytest.raises(InputError, match="joined with others"):
            after(settings)
        return
    end, plain = after(settings), after("")
    assert torch.isfinite(end).all()
    if name == "none":
        assert torch.equal(end, plain)
    elif name != "weight-clipping":  # clips only large weights
        assert not torch.equal(end, plain)
    off = choose_method(name).cls.info.off
    if off:
        assert torch.equal(after(f"{name}:{off}"), plain)


def test_l2_is_weight_decay_on_resnet18_but_for_gains_and_shifts() -> None:
    def one(method: str, decay: float) -> torch.Tensor:
        torch.manual_seed(0)
        model = resnet18(num_classes=5)
        norms = [p for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()]
        others = [p for p in model.parameters() if all(p is not q for q in norms)]
        groups: Any = [{"params": others, "weight_decay": decay}, {"params": norms}]
        optimizer = torch.optim.SGD(groups, 0.1, momentum=0.9)
        attach(method, model, optimizer)
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.randn(2, 3, 32, 32)).square().sum().backward()
            optimizer.step()
        return vector(model)

    decayed = one("none", 0.1)
    assert torch.equal(one("l2:strength=0.1", 0.0), decayed)
    assert not torch.equal(one("none", 0.0), decayed)
    found = module_layers(resnet18())
    assert [len(found.layers), len(found.norms), len(found.absent)] == [21, 20, 20]
    assert [layer.name for layer in found.layers if not layer.hidden] == ["fc"]
    assert found.layers[1].name == "layer1.0.conv1"
    assert all(layer.gain is not None for layer in found.layers[:-1])


def test_reset_restores_weights_gains_running_statistics_and_moments() -> None:
    model = residual()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    attached = attach("reset", model, optimizer)
    train(model, 5, optimizer)
    moved = vector(model)
    attached.task_end()
    first, norm, _, block = cast(Any, model[:4])
    for convolution in (first, block.first, block.second):
        bound = convolution.weight[0].numel() ** -0.5
        assert bound / 2 < float(convolution.weight.detach().abs().max()) <= bound
    for normalisation in (norm, block.norm, block.last_norm):
        assert torch.equal(normalisation.weight, torch.ones(4))
        assert not normalisation.bias.any()
    for statistics in (norm, block.norm):
        assert not statistics.running_mean.any()
        assert torch.equal(statistics.running_var, torch.ones(4))
        assert int(statistics.num_batches_tracked) == 0
    assert not torch.equal(vector(model), moved)
    assert not optimizer.state


def test_layers_without_bias_stay_without() -> None:
    model = residual()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for method in ("syre:sigma=1,strength=0.5,decoupled=true", "shrink-perturb:interval=1", "upgd", "trac"):
        attached = attach(method, model, optimizer)
        train(model, 4, optimizer, attached)
        (part,) = attached.parts.values()
        assert len(part.made.absent) == 3
        assert not any(bias.any() for bias in part.made.absent)
        assert not set(part.made.absent) & set(optimizer.state)
        attached.detach()


class Pooled(nn.Module):
    """Convolutions that are each read in a different way."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 5, 3, stride=2)
        self.third = nn.Conv2d(5, 6, 1)
        self.wide, self.head = nn.Linear(6, 7), nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.dropout(functional.avg_pool2d(torch.tanh(self.first(x)), 2), 0.0, self.training)
        x = functional.gelu(self.second(x)).contiguous()
        x = functional.adaptive_max_pool2d(functional.elu(self.third(x)), 1).squeeze(-1).squeeze(-1)
        return self.head(functional.leaky_relu(self.wide(x)))


def test_features_are_what_the_next_layer_reads() -> None:
    model = Pooled()
    attached = attach("cbp", model, torch.optim.Adam(model.parameters()))
    x, read = torch.randn(4, 2, 8, 8), []
    hooks = [m.register_forward_pre_hook(lambda _, i: read.append(i[0].detach())) for m in model.children()]
    model(x).sum().backward()
    for hook in hooks:
        hook.remove()
    layers = attached.parts["network"].layers
    assert [layer.name for layer in layers] == ["first", "second", "third", "wide", "head"]
    shapes = [(4, 3, 4, 4), (4, 5, 1, 1), (4, 6, 1, 1), (4, 7)]
    for layer, inputs, shape in zip(layers, read[1:], shapes, strict=False):
        assert layer.features is not None
        assert layer.features.shape == shape
        assert torch.equal(layer.features.flatten(1), inputs.flatten(1))


@pytest.mark.parametrize("method", ["redo:tau=0,period=1,examples=1", "snr:period=1,limit=1,window=50"])
def test_dead_channels_are_reset_with_the_weights_that_read_them(method: str) -> None:
    model: Any = Convolutions()
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    attach(method, model, optimizer)
    with torch.no_grad():
        for layer in (model.first, model.second, model.wide):
            layer.weight.mul_(0.1)
            layer.bias.fill_(1.0)  # all live
        for convolution, channel in ((model.first, 1), (model.second, 3)):
            convolution.weight[channel] = 0
            convolution.bias[channel] = -1.0
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    functional.cross_entropy(model(torch.randn(8, 2, 16, 16)), torch.arange(8) % 4).backward()
    optimizer.step()
    changed = {name: p.detach() != before[name] for name, p in model.named_parameters()}
    assert changed["first.weight"].flatten(1).any(1).tolist() == [False, True, False]
    assert changed["second.weight"].flatten(1).any(1)[3]
    assert not model.second.weight[:, 1][[0, 1, 2, 4]].any()
    assert changed["second.weight"][[0, 1, 2, 4]][:, [0, 2]].any() == 0
    assert not model.wide.weight[:, 12:16].any()
    kept = [i for i in range(20) if not 12 <= i < 16]
    assert model.wide.weight[:, kept].all()


class Unreadable(nn.Module):
    """Its control flow depends on numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 5), nn.Linear(5, 2)
        self.norm = nn.BatchNorm1d(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.first(x)).relu()
        return self.second(x) if float(x.detach().sum()) > 0 else self.second(2 * x)


def test_code_that_cannot_be_traced_takes_only_methods_that_see_parameters() -> None:
    def end(method: str) -> torch.Tensor:
        torch.manual_seed(0)
        model = Unreadable()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        attached = attach(method, model, optimizer)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(6, 3)).square().sum().backward()
            optimizer.step()
            attached.task_end()
        return vector(model)

    ends = [end(name) for name in ("none", "l2", "syre", "reset", "upgd", "spectral", "dash:updates=1")]
    assert all(torch.isfinite(numbers).all() for numbers in ends)
    assert not any(torch.equal(ends[0], other) for other in ends[1:])
    for name in ("cbp", "l2+redo", "head-reset", "layer-reset", "parseval", "l2+head-reset"):
        with pytest.raises(InputError, match="forward cannot be traced"):
            end(name)


def test_reading_a_network_leaves_it_and_the_generators_as_they_are() -> None:
    model = Convolutions().eval()
    model.first.train()
    state = torch.random.get_rng_state()
    attach("cbp", model, torch.optim.Adam(model.parameters()))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [m.training for m in model.children()] == [False, True, False, False]


def test_training_continued_from_saved_state_is_bit_identical() -> None:
    def start() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)
        )
        return model, torch.optim.Adam(model.parameters(), 0.01)

    for method in ("cbp:rate=0.2,maturity=2", "syre+reset", "redo:tau=0.5,period=3"):
        model, optimizer = start()
        attached = attach(method, model, optimizer)
        train(model, 6, optimizer, attached)
        saved = copy.deepcopy((model.state_dict(), optimizer.state_dict(), attached.state_dict()))
        other, other_optimizer = start()
        other.load_state_dict(saved[0])
        other_optimizer.load_state_dict(saved[1])
        attach(method, other, other_optimizer, state=saved[2])
        train(model, 6, optimizer)
        train(other, 6, other_optimizer)
        assert torch.equal(vector(model), vector(other))
