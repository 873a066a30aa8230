"""Methods that change the network, where the agent acts."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from plasticity_bench.agents.layers import trainable
from plasticity_bench.agents.networks import StackedNetwork
from plasticity_bench.agents.ppo import PPOLearner
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.cli import main
from plasticity_bench.errors import InputError
from plasticity_bench.playback import find_cell, play
from plasticity_bench.records.configuration import plan_cell
from plasticity_bench.running.plan import open_cells, plan_jobs
from plasticity_bench.running.worker import run_job
from plasticity_bench.specs import PPOSpec
from tests.support.control_bench import GymStream, PendulumStream, agent, finish

SPEC = PPOSpec(rollout=32, epochs=2, batch=16, environments=2)
STREAMS = {"choices": GymStream, "vectors": PendulumStream}
METHODS = (
    "plasticity-injection:after=1",
    "hare-tortoise:decay=0.9,period=5",
    "normalize-and-project",
    "layer-norm+hare-tortoise:decay=0.9,period=5",
)
KINDS = pytest.mark.parametrize("kind", STREAMS)


def weights(made: PPOLearner, index: int = 0) -> list[torch.Tensor]:
    return [p.detach()[index].clone() for part in made.parts for p in trainable(part.layers)]


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@KINDS
@pytest.mark.parametrize("method", METHODS)
def test_a_seed_does_not_depend_on_its_stack(method: str, kind: str) -> None:
    stream = STREAMS[kind](spec=SPEC, hidden=(16, 16))
    together = finish(agent(method, (0, 1, 5), stream))
    for index, seed in enumerate((0, 1, 5)):
        alone = finish(agent(method, (seed,), stream))
        assert same(weights(alone), weights(together, index))
        assert str(alone.rows[0]) == str(together.rows[index])


@KINDS
@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_ends_with_the_same_bits(method: str, kind: str) -> None:
    stream = STREAMS[kind](tasks=3, rollouts=2, spec=SPEC, hidden=(16, 16))
    whole, states = agent(method, (0, 3), stream), []
    while not whole.finished:
        states.append(copy.deepcopy(whole.state_dict()))
        whole.advance()
    for state in states[1::2]:
        resumed = agent(method, (0, 3), stream)
        resumed.load_state_dict(state)
        finish(resumed)
        assert all(same(weights(whole, s), weights(resumed, s)) for s in (0, 1))
        assert str(whole.rows) == str(resumed.rows)


@KINDS
def test_an_injection_leaves_policy_and_values_as_they_are(kind: str) -> None:
    stream = STREAMS[kind](tasks=2, rollouts=1, spec=SPEC, hidden=(16, 16))
    made, plain = agent("plasticity-injection:after=1", (0, 1), stream), agent("none", (0, 1), stream)
    made.advance()
    plain.advance()
    x = torch.randn(2, 50, *stream.network.inputs)
    for ours, theirs in zip(made.parts, plain.parts, strict=True):
        torch.testing.assert_close(ours.network.forward(x), theirs.network.forward(x))
        assert len(ours.layers[1].branches) == 2
        assert not torch.equal(ours.layers[2].weight, theirs.layers[2].weight)
        log_std, other = ours.layers[-1].log_std, theirs.layers[-1].log_std
        assert (log_std is None) == (other is None)
        if log_std is not None and other is not None:
            assert log_std.any()
            assert torch.equal(log_std, other)
            moments = (part.optimizer.moments(p) for part, p in ((ours, log_std), (theirs, other)))
            assert all(torch.equal(a, b) for a, b in zip(*moments, strict=True))
    before = weights(made)
    made.advance()
    assert not any(torch.equal(a, b) for a, b in zip(before, weights(made), strict=True))
    assert not torch.equal(made.observations, plain.observations)


def test_the_kept_policy_of_an_injected_network_acts_as_it_did() -> None:
    stream = GymStream(spec=SPEC, hidden=(16, 16))
    made = finish(agent("plasticity-injection:after=1", (0, 4), stream))
    file = io.BytesIO()
    torch.save(made.policy_state(1), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    network = StackedNetwork(stream.network, SeedRng([9], "init"), torch.device("cpu"), torch.float32)
    with torch.no_grad():
        for parameter, saved in zip(trainable(network.layers), state["weights"], strict=True):
            parameter[0].copy_(saved)
    x = torch.randn(2, 50, *stream.network.inputs)
    without = network.forward(x[1:])
    network.load_extras(state)
    torch.testing.assert_close(network.forward(x[1:])[0], made.actor.network.forward(x)[1])
    assert float((without - network.forward(x[1:])).detach().abs().max()) > 1e-3


def test_the_hare_acts_and_returns_to_the_tortoise() -> None:
    """Without returns the run is that of none: what acts and is recorded is what is trained."""
    plain = finish(agent("none", (0, 1), GymStream(spec=SPEC)))
    apart = finish(agent("hare-tortoise:decay=0.9,period=0", (0, 1), GymStream(spec=SPEC)))
    assert same(weights(plain), weights(apart))
    assert str(plain.rows) == str(apart.rows)
    slow = [p.detach()[0] for part in apart.parts for p in trainable(part.predictor.layers)]
    assert not same(weights(plain), slow)
    returned = finish(agent("hare-tortoise:decay=0.9,period=8", (0, 1), GymStream(spec=SPEC)))
    assert not same(weights(plain), weights(returned))


@pytest.mark.parametrize("method", ["dropout", "batch-norm", "l2+batch-norm"])
def test_networks_of_two_modes_are_refused(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="cannot train an agent that acts"):
        agent(method)
    command = ["run", "--method", method, "--stream", "shuffled-gridworld:tasks=3,rollouts=2", "--seeds", "1"]
    assert main([*command, "--device", "cpu", "--jobs", "1", "--runs", str(tmp_path)]) == 2
    assert not any(tmp_path.iterdir())
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert method in line
    assert "choose a supervised stream" in line
    assert np.isfinite([row["online_loss"] for row in finish(agent("dropout:p=0")).rows[0]]).all()


def test_watching_an_injected_policy(tmp_path: Path) -> None:
    plan = plan_cell("shuffled-gridworld:tasks=3,rollouts=2", "plasticity-injection:after=1")
    (job,) = plan_jobs(open_cells(tmp_path, [plan], [0]), 1, ["cpu"])
    run_job(job, lambda done, total: None)
    (folder,) = tmp_path.glob("*/*")
    episode = play(find_cell(folder), 0, None, 5)
    assert episode.steps >= 1
