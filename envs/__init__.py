"""Environments whose physics can change between tasks. Importing this module registers them with Gymnasium.

Gymnasium 1.0 does not find installed environments by itself: ``import plasticity_bench.envs`` first, or name
the module in ``gymnasium.make``. PyBullet is imported when an environment is made.

Example:
    >>> import gymnasium
    >>> env = gymnasium.make("plasticity_bench.envs:plasticity_bench/Ant-v0")
    >>> observation, info = env.reset(seed=0, options={"friction": 0.1})
    >>> observation.shape, env.action_space.shape
    ((28,), (8,))
    >>> env.close()
"""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

if __name__ == "envs":
    raise ImportError("import plasticity_bench.envs: the folder envs/ is installed under that name")

#: Steps after which an episode is cut, as in the published environments.
MAX_EPISODE_STEPS = 1000
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
