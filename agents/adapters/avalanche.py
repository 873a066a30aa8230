"""Methods in Avalanche's strategies, whose training loop stays as it is: ``PlasticityPlugin``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from avalanche.core import SupervisedPlugin
from torch import nn

from plasticity_bench.agents.adapters.torch_adapter import Attachment, MethodLike, attach
from plasticity_bench.errors import InputError


class PlasticityPlugin(SupervisedPlugin):
    """Attaches a method to a strategy with one optimizer: it acts in every ``optimizer.step()``.

    It acts after the strategy's other plug-ins (replay, EWC, ...) have formed the loss and the gradients. It
    is attached when the first experience begins, as ``torch_adapter.attach`` does, and stays attached if the
    strategy replaces its optimizer. A strategy that was pickled or copied continues with its method.

    An experience is a task. In an online stream all experiences of one origin are one task; if such a stream
    hides its boundaries, the whole stream is. ``on_task_end`` is called when the next task begins, so that
    what is evaluated after training, and what other plug-ins keep, is the trained network and not a reset
    one.

    Args:
        method: A name with settings as on the command line (``"syre:strength=1e-3"``), a Method, or a class
            or function that makes one. A Method is copied, so that it can be attached several times.
        seed: Of the method's random numbers; torch's global generator is never drawn from.
        state: ``state_dict()`` of an earlier plug-in. The method continues from it, and the weights stay as
            they are: load those of that time first.

    Raises:
        InputError: When training begins: the method cannot be used with the network, or the network's
            parameters were replaced since the last experience, as those of a classifier that grows.

    Example::

        plugin = PlasticityPlugin("syre:strength=1e-3")
        strategy = Naive(model=model, optimizer=optimizer, plugins=[plugin], ...)
        for experience in benchmark.train_stream:
            strategy.train(experience)
    """

    def __init__(self, method: MethodLike, seed: int = 0, *, state: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.method, self.seed = method, seed
        self.attached: Attachment | None = None
        self.experiences = 0 if state is None else int(state["experiences"])
        self._state = None if state is None else state["methods"]
        self._optimizer: Any = None
        self._parameters: dict[str, nn.Parameter] = {}
        self._predicting = ExitStack()

    def before_training_exp(self, strategy: Any, *_: Any, **__: Any) -> None:
        """Attaches the method if it is not attached; then ends the last task if this is another one."""
        model, optimizer = strategy.model, strategy.optimizer
        self._check_unchanged(model)
        if self.attached is not None and self._optimizer is not optimizer:
            self._state = self.attached.state_dict()
            self.attached.detach()
            self.attached = None
        if self.attached is None:
            self.attached = attach(self.method, model, optimizer, seed=self.seed, state=self._state)
            self._optimizer, self._state = optimizer, None
            self._parameters = dict(model.named_parameters())
        experience = strategy.experience
        boundaries_known = getattr(experience, "access_task_boundaries", True)
        if getattr(experience, "is_first_subexp", True) if boundaries_known else not self.experiences:
            if self.experiences:
                self.attached.task_end()
            self.experiences += 1

    def before_eval(self, *_: Any, **__: Any) -> None:
        """Evaluates the weights that the method predicts with."""
        if self.attached is not None:
            self._predicting.enter_context(self.attached.predicting())

    def after_eval(self, *_: Any, **__: Any) -> None:
        """Puts the trained weights back."""
        self._predicting.close()

    def state_dict(self) -> dict[str, Any]:
        """The method's state and how many tasks have begun; plain values and tensors."""
        methods = self._state if self.attached is None else self.attached.state_dict()
        return {"experiences": self.experiences, "methods": methods}

    def __getstate__(self) -> dict[str, Any]:
        """An optimizer's hooks are not saved with it: a copy attaches the method when it trains."""
        own = {
            "attached": None,
            "_parameters": {},
            "_state": self.state_dict()["methods"],
            "_optimizer": None,
            "_predicting": ExitStack(),
        }
        return {**self.__dict__, **own}

    def _check_unchanged(self, model: nn.Module) -> None:
        for name, parameter in model.named_parameters() if self._parameters else ():
            before = self._parameters.get(name)
            if before is not parameter:
                shape = "absent" if before is None else tuple(before.shape)
                raise InputError(
                    f'"{name}" is another parameter than in the last experience ({shape}, now '
                    f"{tuple(parameter.shape)}): methods need one network throughout; use a classifier with "
                    "all classes from the start, such as SimpleMLP(num_classes=...)"
                )
