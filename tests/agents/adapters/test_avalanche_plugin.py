"""Methods in Avalanche's strategies."""

from __future__ import annotations

import copy
import functools
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from avalanche.benchmarks.scenarios.online import split_online_stream
from avalanche.core import SupervisedPlugin
from avalanche.models import IncrementalClassifier, MTSimpleMLP, SimpleCNN, SimpleMLP
from avalanche.training import EWC, LwF, Naive, Replay
from torch import nn

from plasticity_bench.agents.adapters.avalanche import PlasticityPlugin
from plasticity_bench.agents.adapters.module_layers import module_layers
from plasticity_bench.agents.adapters.torch_adapter import attach
from plasticity_bench.errors import InputError
from plasticity_bench.registry.catalog import METHODS
from plasticity_bench.registry.choices import choose_method
from plasticity_bench.tasks.avalanche_data import Benchmark
from tests.support.attached import INSTANCES
from tests.support.digits_benchmarks import permuted_digits, split_digits
from tests.support.method_names import ALWAYS_ON, ARCHITECTURES
from tests.support.mnist_files import needs_mnist

STRATEGIES: dict[str, Callable[..., Any]] = {
    "naive": Naive,
    "replay": functools.partial(Replay, mem_size=40),
    "ewc": functools.partial(EWC, ewc_lambda=10.0),
    "lwf": functools.partial(LwF, alpha=1.0, temperature=2.0),
}
BENCHMARKS: dict[str, Callable[[], Any]] = {
    "permuted": functools.cache(permuted_digits),
    "split": functools.cache(functools.partial(split_digits, seed=1)),
}


def strategy(
    method: Any = "", kind: str = "naive", model: nn.Module | None = None, decay: float = 0.0, **options: Any
) -> Any:
    """A strategy as in a user's script, without the plug-in if there is no method."""
    torch.manual_seed(0)
    model = model or SimpleMLP(10, 64, 16, hidden_layers=2, drop_rate=0.1)
    return STRATEGIES[kind](
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), 0.01, weight_decay=decay),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=16,
        eval_mb_size=64,
        plugins=[PlasticityPlugin(method, **options)] if method else None,
        evaluator=None,
    )


def plugin(made: Any) -> PlasticityPlugin:
    (found,) = [p for p in made.plugins if isinstance(p, PlasticityPlugin)]
    return found


def numbers(made: Any) -> torch.Tensor:
    """All weights, and what the optimizer keeps."""
    kept = [torch.as_tensor(v) for s in made.optimizer.state_dict()["state"].values() for v in s.values()]
    return torch.cat([t.detach().flatten().double() for t in (*made.model.parameters(), *kept)])


def trained(
    method: str, kind: str = "naive", benchmark: str = "permuted", decay: float = 0.0
) -> torch.Tensor:
    """``numbers`` after all experiences, with evaluations in between."""
    made = strategy(method, kind, decay=decay)
    stream = BENCHMARKS[benchmark]()
    torch.manual_seed(1)
    for experience in stream.train_stream:
        made.train(experience)
        made.eval(stream.test_stream[:1])
    return numbers(made)


first = functools.cache(trained)
#: LwF wants task labels, which the permuted digits have not.
EVERYWHERE = [(k, b) for k in STRATEGIES for b in BENCHMARKS if (k, b) != ("lwf", "permuted")]


@pytest.mark.parametrize("name", INSTANCES)
def test_every_method_trains(name: str) -> None:
    end, plain = trained(name), first("")
    assert torch.isfinite(end).all()
    if name == "none":
        assert torch.equal(end, plain)
    elif name not in ("trac", "weight-clipping"):  # moves little, and clips only large weights, at first
        assert not torch.equal(end, plain)


@pytest.mark.parametrize(("kind", "benchmark"), EVERYWHERE)
def test_none_is_the_strategy_without_the_plugin_bit_for_bit(kind: str, benchmark: str) -> None:
    assert torch.equal(trained("none", kind, benchmark), first("", kind, benchmark))


@pytest.mark.parametrize(("kind", "benchmark"), EVERYWHERE)
def test_l2_is_the_optimizers_weight_decay_bit_for_bit(kind: str, benchmark: str) -> None:
    decayed = trained("", kind, benchmark, decay=0.1)
    assert torch.equal(trained("l2:strength=0.1", kind, benchmark), decayed)
    assert not torch.equal(first("", kind, benchmark), decayed)


@pytest.mark.parametrize("name", sorted(set(METHODS) - ALWAYS_ON - ARCHITECTURES))
def test_zero_coefficient_is_plain_training_bit_for_bit(name: str) -> None:
    assert torch.equal(trained(f"{name}:{choose_method(name).cls.info.off}"), first(""))


@pytest.mark.parametrize("kind", STRATEGIES)
def test_cbp_resets_units(kind: str) -> None:
    made, replaced = strategy("cbp:rate=0.2,maturity=2", kind), 0
    for experience in BENCHMARKS["split"]().train_stream:
        made.train(experience)
        method: Any = plugin(made).attached.methods["network"]  # type: ignore[union-attr]
        replaced += sum(int((age < method.updates).sum()) for age in method.age)
    assert replaced > 10


@pytest.mark.parametrize("kind", ["naive", "replay", "ewc"])
def test_reset_comes_between_experiences_and_not_before_evaluation(kind: str) -> None:
    made, begun = strategy("reset", kind), []

    class Watch(PlasticityPlugin):
        def before_training_epoch(self, strategy: Any, *_: Any, **__: Any) -> None:
            moved = float(strategy.model.classifier.weight.detach().abs().max())
            begun.append((moved <= 1 / 4, len(strategy.optimizer.state)))

    made.plugins.append(Watch("none"))
    stream = BENCHMARKS["permuted"]()
    for experience in stream.train_stream:
        made.train(experience)
        weights = made.model.classifier.weight.detach().clone()
        assert float(weights.abs().max()) > 1 / 4  # 1 / sqrt(fan_in): it has learned
        made.eval(stream.test_stream)
        assert torch.equal(made.model.classifier.weight, weights)
    assert begun == [(True, 0)] * 3


def test_online_streams_have_a_task_for_every_origin_or_one_where_they_hide_it() -> None:
    for visible, tasks in ((True, 2), (False, 1)):
        made = strategy("reset")
        stream = BENCHMARKS["permuted"]().train_stream[:2]
        online = split_online_stream(stream, experience_size=40, access_task_boundaries=visible)
        for experience in online:
            made.train(experience)
        assert plugin(made).experiences == tasks


def test_torchs_generators_are_not_used_and_seeds_differ() -> None:
    ends = []
    for seed in (0, 0, 5):
        made = strategy("syre:sigma=1,strength=0.1", seed=seed)
        torch.manual_seed(1)
        made.train(BENCHMARKS["permuted"]().train_stream[0])
        ends.append((numbers(made), torch.random.get_rng_state()))
    assert torch.equal(ends[0][0], ends[1][0])
    assert not torch.equal(ends[0][0], ends[2][0])
    assert torch.equal(ends[0][1], ends[2][1])


@pytest.mark.parametrize("name", ["syre+reset", "cbp:rate=0.2,maturity=2", "trac"])
def test_training_continued_from_state_is_bit_identical(name: str) -> None:
    made, stream = strategy(name), BENCHMARKS["permuted"]().train_stream
    made.train(stream[0])
    file = io.BytesIO()
    torch.save(plugin(made).state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    other = strategy(name, model=copy.deepcopy(made.model), state=state)
    other.optimizer.load_state_dict(copy.deepcopy(made.optimizer.state_dict()))
    # Avalanche clears the moments before a strategy's first experience.
    made.optimizer.state.clear()
    for each in (made, other):
        torch.manual_seed(2)
        each.train(stream[1])
    assert torch.equal(numbers(made), numbers(other))
    assert plugin(other).experiences == 2


@pytest.mark.parametrize("way", ["pickled", "copied", "optimizer replaced"])
def test_saved_strategies_and_replaced_optimizers_keep_the_method(way: str) -> None:
    stream = BENCHMARKS["permuted"]().train_stream
    made = strategy("syre:sigma=1,strength=0.1")
    made.train(stream[0])
    other = pickle.loads(pickle.dumps(made)) if way == "pickled" else copy.deepcopy(made)
    if way == "optimizer replaced":
        state = other.optimizer.state_dict()
        other.optimizer = torch.optim.Adam(other.model.parameters(), 0.01)
        other.optimizer.load_state_dict(state)
    for each in (made, other):
        torch.manual_seed(2)
        each.train(stream[1])
    assert torch.equal(numbers(made), numbers(other))
    assert plugin(other).experiences == 2


class Soon(SupervisedPlugin):
    """Ends every experience after 20 updates, within the first of two epochs."""

    def after_training_iteration(self, strategy: Any, *_: Any, **__: Any) -> None:
        if strategy.clock.train_exp_iterations >= 20:
            strategy.stop_training()


@functools.cache
def mnist_experiences(benchmark: str) -> Any:
    return Benchmark(benchmark).make(1, 2 if benchmark == "PermutedMNIST" else 5)[0]


@needs_mnist
@pytest.mark.parametrize(
    ("benchmark", "kind"), [("SplitMNIST", "naive"), ("SplitMNIST", "replay"), ("PermutedMNIST", "naive")]
)
def test_mnist_benchmarks_train_as_without_the_plugin_and_with_weight_decay(
    benchmark: str, kind: str
) -> None:
    experiences = mnist_experiences(benchmark)

    def end(method: str, decay: float = 0.0) -> torch.Tensor:
        torch.manual_seed(0)
        made = strategy(method, kind, SimpleMLP(10, 784, 16, drop_rate=0.1), decay)
        made.plugins.append(Soon())
        made.train_epochs = 2
        torch.manual_seed(1)
        for experience in experiences[:2]:
            made.train(experience)
        return numbers(made)

    plain, decayed = end(""), end("", 0.1)
    assert torch.equal(end("none"), plain)
    assert torch.equal(end("l2:strength=0.1"), decayed)
    assert not torch.equal(plain, decayed)
    assert not torch.equal(end("cbp:rate=0.2,maturity=2"), plain)


def test_avalanches_models_are_read() -> None:
    for model, count in ((SimpleMLP(hidden_layers=3), 4), (SimpleCNN(), 6)):
        found = module_layers(model)
        assert not found.unpaired
        assert [layer.hidden for layer in found.layers] == [True] * (count - 1) + [False]
    cnn = SimpleCNN()
    optimizer = torch.optim.SGD(cnn.parameters(), 0.1)
    attached = attach("cbp:rate=0.5,maturity=1", cnn, optimizer)
    for _ in range(4):
        cnn(torch.randn(2, 3, 32, 32)).square().sum().backward()
        optimizer.step()
    method: Any = attached.methods["network"]
    assert all((age < method.updates).any() for age in method.age)


class Growing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(64, 8), IncrementalClassifier(8, initial_out_features=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.first(x.flatten(1)).relu())


def test_what_is_not_supported_gives_one_line() -> None:
    def line(method: str, model: nn.Module | None = None) -> str:
        with pytest.raises(InputError) as caught:
            strategy(method, model=model).train(BENCHMARKS["split"]().train_stream)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "classifier with all classes from the start" in line("l2", Growing())
    assert "changes the network" in line("layer-norm")
    assert "cannot be traced" in line("cbp", MTSimpleMLP(64, 8))


def test_evaluation_is_of_the_weights_that_predict() -> None:
    """Evaluation uses the tortoise's weights; afterwards the network has the hare's weights again."""

    class Watch(SupervisedPlugin):
        def before_eval_exp(self, strategy: Any, *_: Any, **__: Any) -> None:
            self.seen = [p.detach().clone() for p in strategy.model.parameters()]

    made = strategy("hare-tortoise:decay=0.9,period=0")
    watch = Watch()
    made.plugins.append(watch)
    stream = BENCHMARKS["permuted"]()
    made.train(stream.train_stream[0])
    before = [p.detach().clone() for p in made.model.parameters()]
    made.eval(stream.test_stream[:1])
    attached = plugin(made).attached
    assert attached is not None
    (method,) = attached.methods.values()
    tortoise = [p for layer in method.predictor() or () for p in layer.trainable()]
    assert all(torch.equal(seen, wanted) for seen, wanted in zip(watch.seen, tortoise, strict=True))
    assert not torch.equal(watch.seen[0], before[0])
    assert all(torch.equal(p, wanted) for p, wanted in zip(made.model.parameters(), before, strict=True))
