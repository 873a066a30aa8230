"""A plasticity method in a stable-baselines3 script: `python examples/sb3_cartpole.py syre:strength=1e-3`.

Trains PPO on CartPole whose pole becomes longer: two tasks, and the method is told of the change.
"""

import argparse
from typing import Any

import gymnasium
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

from plasticity_bench.agents.adapters.sb3 import attach

arguments = argparse.ArgumentParser(description="PPO on CartPole with a plasticity method")
arguments.add_argument("method", nargs="?", default="syre:strength=1e-3")
arguments.add_argument("steps", nargs="?", type=int, default=20_000, help="of each of the two tasks")
options = arguments.parse_args()

environment: Any = gymnasium.make("CartPole-v1")
model = PPO("MlpPolicy", environment, n_steps=512, seed=0, device="cpu")
attached = attach(options.method, model)
for length in (0.5, 1.5):
    environment.unwrapped.length = length
    model.learn(options.steps)
    mean, deviation = evaluate_policy(model, model.get_env())
    print(f"{options.method}, length {length}: return {mean:.1f} +- {deviation:.1f}")
    attached.task_end()
