"""Copies and pickles of a walking robot: independent environments that continue identically."""

from __future__ import annotations

import copy
from typing import Any

from plasticity_bench.envs.rounding import length_function


class Copies:
    """For environments with ``state_dict`` and ``load_state_dict`` whose physics server is ``_world``."""

    _world: Any

    def state_dict(self) -> dict[str, Any]:
        """All that the future depends on."""
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a ``state_dict``."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: without the physics server, which two environments cannot share."""
        own = {name: value for name, value in vars(self).items() if name not in ("_world", "_length")}
        return {"own": copy.deepcopy(own), "begun": self._world is not None, "state": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state["own"])
        self._world, self._length = None, length_function()
        if state["begun"]:
            self.load_state_dict(state["state"])
