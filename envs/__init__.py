"""Environments whose physics can change between tasks, registered with Gymnasium as this is imported.

Gymnasium 1.0 gave up finding installed environments by itself. So ``import plasticity_bench.envs`` first, or
name the module: ``gymnasium.make("plasticity_bench.envs:plasticity_bench/Ant-v0")``. PyBullet is not imported
before an environment is made.
"""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

if __name__ == "envs":
    raise ImportError("import plasticity_bench.envs: the folder envs/ is installed under that name")

MAX_EPISODE_STEPS = 1000  # steps, as the published environments have
CLASSES = {
    "Ant-v0": "locomotion:Ant",
    "HalfCheetah-v0": "locomotion:HalfCheetah",
    "Hopper-v0": "locomotion:Hopper",
    "Walker2D-v0": "locomotion:Walker2D",
    "SlipperyAnt-v0": "slippery:SlipperyAnt",
}

for _name, _where in CLASSES.items():
    if f"plasticity_bench/{_name}" not in registry:
        register(
            f"plasticity_bench/{_name}",
            entry_point=f"plasticity_bench.envs.{_where}",
            max_episode_steps=MAX_EPISODE_STEPS,
        )
