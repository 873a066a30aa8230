"""The pages of streams: one for each, and the overview."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields
from functools import lru_cache
from statistics import median

from docs.generate.markdown import (
    COMMENT,
    bullets,
    code,
    facts,
    inert,
    linked,
    paragraphs,
    sentence,
    shell,
    table,
)
from docs.generate.results import (
    LEADERBOARD,
    ROOT,
    explanation,
    group,
    loss_of_none,
    of_stream,
)
from docs.generate.settings import Setting, settings_of
from plasticity_bench.plugins import import_class
from plasticity_bench.records.cells import find_cells
from plasticity_bench.records.tables import COLUMNS
from plasticity_bench.registry.catalog import STREAMS, SUITES
from plasticity_bench.registry.precision import DEFAULT, PRECISIONS
from plasticity_bench.registry.settings import split_settings
from plasticity_bench.scoring.references import REFERENCES
from plasticity_bench.specs import NetworkSpec, OptimizerSpec, PPOSpec, late_tasks, parameter_count
from plasticity_bench.tasks.base import ControlStream, Stream
from plasticity_bench.terminal import number

OVERVIEW = """\
# Streams

A stream is a sequence of tasks with a fixed network, optimizer and training length. Only the method changes.
`python -m plasticity_bench list streams` prints the same list.
"""
DATA = """\
The digits are part of scikit-learn. MNIST and Fashion-MNIST (`dataset=fashion-mnist`) are downloaded to a
cache folder on first use and checked, or read from the folder that `PLASTICITY_BENCH_DATA` names (in
torchvision's layout). All other data are generated. Benchmarks of Avalanche can be used as streams too: see
[your own training code](adapters.md#avalanches-benchmarks-as-streams).
"""
INITS = {
    "torch": "PyTorch's default initialisation",
    "kaiming": "Kaiming uniform initialisation, biases 0",
    "lecun": "LeCun uniform initialisation, biases 0",
}
ACTIVATIONS = {"relu": "ReLU"}
LOSSES = {"cross-entropy": "cross-entropy", "mse": "mean squared error", "ppo": "that of PPO"}
#: Kind of a stream's figure -> title.
FIGURES = {
    "learning-curves": "Learning curves",
    "plasticity-loss": "Plasticity loss over tasks",
    "returns": "Returns over steps",
}
RETURN = {
    "online_performance": "mean return of the episodes that ended in the task",
    "final_performance": "mean return of the episodes that ended in the last fifth of the task",
}


def pages() -> Iterator[tuple[str, str]]:
    """Path within docs/ and text of every page."""
    classes = {name: import_class(where) for name, where in STREAMS.items()}
    yield "streams.md", _overview({name: cls() for name, cls in classes.items()})
    for name, cls in classes.items():
        yield f"streams/{name}.md", _page(name, cls())


def _overview(streams: dict[str, Stream]) -> str:
    lines = (
        [
            f"[`{name}`](streams/{name}.md)",
            inert(stream.info.summary),
            str(stream.tasks),
            _length(stream),
            str(stream.info.seeds),
            loss_of_none(_folder(stream)) or "not recorded",
        ]
        for name, stream in streams.items()
    )
    head = (
        "stream",
        "a task is",
        "tasks",
        "length of a task",
        "seeds",
        "does plain training lose plasticity?",
    )
    suites = (
        [code(name), inert(suite.summary), ", ".join(map(code, suite.streams))]
        for name, suite in SUITES.items()
    )
    parts = [COMMENT, OVERVIEW, table(head, lines), DATA]
    parts.append(f"## Suites\n\n{table(('suite', 'what it is', 'streams'), suites)}")
    parts.append(f"{shell('python -m plasticity_bench run --method syre --suite standard')}")
    return "\n".join(parts)


def _folder(stream: Stream) -> str:
    """The stream's name with its version, as records and the leaderboard have it."""
    return f"{stream.info.name}-v{stream.info.version}"


def _page(name: str, stream: Stream) -> str:
    command = "python -m plasticity_bench run --method syre --stream"
    other = next(iter(stream_settings(type(stream))))
    parts = [
        COMMENT,
        f"# {name}\n",
        f"{sentence(inert(stream.info.summary))}\n",
        f"{paragraphs(inspect.getdoc(type(stream)) or '')}\n",
        facts(_facts(stream)),
        f"## Run it\n\n{shell(f'{command} {name}', f'{command} {name}:{other.name}=5')}",
        f"## Settings\n\n{_settings(stream)}",
    ]
    if isinstance(stream, ControlStream):
        parts.append(f"## PPO\n\n{_ppo(stream.ppo)}")
    parts += [
        f"## Source\n\n{sentence(linked(stream.info.source))}\n",
        "Differences from the source, and choices that it leaves open:\n",
        bullets(linked(text) for text in stream.info.deviations),
        f"## Results\n\n{_results(_folder(stream))}",
    ]
    return "\n".join(parts)


def _facts(stream: Stream) -> Iterator[tuple[str, str]]:
    info, late = stream.info, late_tasks(stream.tasks)
    score = RETURN[info.score] if info.loss == "ppo" else COLUMNS[info.score].partition(" (")[0]
    yield "tasks", str(stream.tasks)
    yield "length of a task", _length(stream)
    yield "network", _network(stream)
    yield "optimizer", _optimizer(stream.optimizer)
    yield "training loss", LOSSES[info.loss]
    yield "performance", f"{info.unit} ({code(info.score)}): {inert(score)}"
    yield "chance", f"{number(info.chance)}: the performance without learning"
    yield "late tasks", f"tasks {late.start} to {late.stop - 1}, counted from 0"
    yield "seeds by default", str(info.seeds)
    yield "suites", ", ".join(code(name) for name, suite in SUITES.items() if _member(stream, suite.streams))
    yield "training time", _cost(_folder(stream))
    yield "does plain training lose plasticity?", loss_of_none(_folder(stream))
    file = f"tasks/{type(stream).__module__.rpartition('.')[2]}.py"
    yield "code", f"[{file}](../../{file})"


def _member(stream: Stream, members: tuple[str, ...]) -> bool:
    return stream.info.name in {split_settings(text)[0] for text in members}


def _length(stream: Stream) -> str:
    if isinstance(stream, ControlStream):
        ppo = stream.ppo
        return (
            f"{stream.steps:,} steps: {stream.rollouts} rollouts of {ppo.rollout:,} steps in "
            f"{ppo.environments} environment{'s' if ppo.environments > 1 else ''}"
        )
    return f"{stream.steps:,} updates of {stream.batch} examples"


def _network(stream: Stream) -> str:
    spec = stream.network
    parts = [f"inputs {'x'.join(map(str, spec.inputs))}"]
    if spec.channels:
        side = f"{spec.kernel}x{spec.kernel}"
        channels = _and(spec.channels)
        parts.append(f"{side} convolutions with {channels} channels, each followed by 2x2 max pooling")
    layers = "hidden layers" if len(spec.hidden) > 1 else "a hidden layer"
    parts.append(f"{layers} of {_and(spec.hidden)} units")
    parts.append(f"{spec.outputs} output{'s' if spec.outputs > 1 else ''}")
    parts += [ACTIVATIONS[spec.activation], INITS[spec.init], f"{parameter_count(spec):,} parameters"]
    if isinstance(stream, ControlStream):
        parts.append("this is the policy; the value network has the same hidden layers and one output")
    return "; ".join(parts)


def _and(numbers: tuple[int, ...]) -> str:
    texts = [f"{value:,}" for value in numbers]
    return " and ".join([", ".join(texts[:-1]), texts[-1]]) if len(texts) > 1 else texts[0]


def _optimizer(spec: OptimizerSpec) -> str:
    if spec.name == "sgd":
        return f"SGD, step size {spec.lr:g}, momentum {spec.momentum:g}"
    beta1, beta2 = spec.betas
    return f"Adam, step size {spec.lr:g}, decay rates {beta1:g} and {beta2:g}, epsilon {spec.eps:g}"


def stream_settings(cls: type[Stream]) -> list[Setting]:
    """The settings of a stream; some have the name and meaning of a field of a spec."""
    return settings_of(cls, PPOSpec, OptimizerSpec, NetworkSpec)


def _settings(stream: Stream) -> str:
    lines = [
        [code(setting.name), setting.kind, code(setting.default), inert(setting.meaning), setting.allowed]
        for setting in stream_settings(type(stream))
    ]
    if not isinstance(stream, ControlStream):
        values = "; ".join(f"{code(name)}: {inert(text)}" for name, text in PRECISIONS.items())
        lines.append([code("precision"), "text", code(DEFAULT), values, ""])
    return table(("name", "type", "default", "meaning", "allowed"), lines)


def _ppo(spec: PPOSpec) -> str:
    lines = []
    for setting, field in zip(settings_of(PPOSpec), fields(PPOSpec), strict=True):
        value = getattr(spec, field.name)
        shown = str(value).lower() if isinstance(value, bool) else f"{value:g}"
        lines.append([code(setting.name), shown, inert(setting.meaning)])
    return table(("name", "value", "meaning"), lines)


@lru_cache(maxsize=1)
def _seconds() -> dict[tuple[str, str], tuple[float, int, str]]:
    """(stream, reference) -> median training time of a seed, seeds that trained together, and device."""
    found = {}
    for reference in REFERENCES:
        for cell in find_cells(LEADERBOARD / "submissions" / reference):
            origins = [cell.trained.provenance(seed) for seed in cell.seeds()]
            seconds = median(origin.seconds for origin in origins)
            found[cell.stream, reference] = seconds, origins[0].stack, origins[0].device
    return found


def _cost(stream: str) -> str:
    known = [(name, _seconds()[stream, name]) for name in REFERENCES if (stream, name) in _seconds()]
    if not known:
        return ""
    _, stack, device = known[0][1]
    times = " and ".join(
        f"{seconds:.{1 if seconds < 100 else 0}f} s with `{name}`" for name, (seconds, _, _) in known
    )
    together = f"{stack} seeds trained together" if stack > 1 else "one seed at a time"
    kind = "processor time on a CPU" if device == "cpu" else f"on {device}"
    return f"{times} per seed ({kind}, {together})"


def _results(stream: str) -> str:
    tables = {
        "Tuned, with the same number of configurations for every method": of_stream(stream, True),
        "Default settings": of_stream(stream, False),
    }
    parts = [
        f"### {title}\n\n{text}"
        for (title, text), tuned in zip(tables.items(), (True, False), strict=True)
        if group(stream, tuned)
    ]
    if not parts:
        return "Nothing is recorded on the leaderboard.\n"
    parts.append(explanation("../../leaderboard/README.md", "../concepts.md"))
    for kind, title in FIGURES.items():
        figure = f"leaderboard/figures/{kind}-{stream}.png"
        if (ROOT / figure).exists():
            parts.append(f"![{title} on {stream}](../../{figure})\n")
    return "\n".join(parts)


def existing() -> list[str]:
    """Files of this kind that docs/ holds, as ``pages`` names them."""
    return [f"streams/{path.name}" for path in (ROOT / "docs" / "streams").glob("*.md")]
