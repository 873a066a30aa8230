"""Methods in stable-baselines3's on-policy algorithms (PPO, A2C), whose own training loop is used unchanged::

    model = PPO("MlpPolicy", "CartPole-v1")
    attached = attach(model, "syre:strength=1e-3")
    model.learn(20_000)

Actor and critic each get a method of their own: hidden layers and action head, hidden layers and value head.
A method that changes the network is built in, and others are attached to what it makes::

    model = PPO(ArchitecturePolicy, "CartPole-v1", policy_kwargs={"architecture": "layer-norm"})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from plasticity_bench.agents.adapters.module_layers import ModuleLayers, module_layers
from plasticity_bench.agents.adapters.torch_adapter import HOOKS, Attachment, MethodLike
from plasticity_bench.agents.layers import trainable
from plasticity_bench.agents.networks import ACTIVATIONS
from plasticity_bench.errors import InputError
from plasticity_bench.registry.create import create_method
from plasticity_bench.specs import WIDENING, NetworkSpec, check_acting, layer_shapes

#: Gains of SB3's orthogonal initialisation: hidden layers, action head, value head.
HIDDEN_GAIN, ACTION_GAIN, VALUE_GAIN = 2**0.5, 0.01, 1.0


def attach(
    model: OnPolicyAlgorithm, method: MethodLike, *, state: Mapping[str, Any] | None = None
) -> Attachment:
    """Puts a plasticity method into every gradient step of ``model``.

    ``method``: a name with settings as on the command line, a Method, or a class or function that makes one.
    Its random numbers follow from the model's seed (0 where there is none). Gradients reach the method, and
    a method's gradients the optimizer, after SB3's clipping of the norm (``max_grad_norm``), as torch's
    ``weight_decay`` does: SB3 has no earlier hook. Fresh weights come from SB3's initial distribution.

    The method is told of a new task only by ``attached.task_end()``, between two calls of ``learn``.
    ``model.save`` and ``load`` work as ever but know nothing of the method: save ``attached.state_dict()``
    beside the model, and give it as ``state`` when attaching to the loaded model, whose weights then stay as
    they are. ``attached.detach()`` takes the method off; a second ``attach`` adds a second method.

    Raises InputError for policies other than perceptrons and methods that change the network.
    """
    policy: Any = getattr(model, "policy", None)
    if not hasattr(getattr(policy, "mlp_extractor", None), "policy_net"):
        raise InputError(
            f"methods cannot be attached to this {type(model).__name__}: supported are on-policy algorithms "
            "with an actor-critic policy of stable-baselines3 (PPO, A2C)"
        )
    return Attachment(chains(policy), policy.optimizer, method, model.seed or 0, state)


def chains(policy: ActorCriticPolicy) -> dict[str, ModuleLayers]:
    """The layers of actor and critic. Raises InputError where they share parameters or have others."""
    extractor = policy.mlp_extractor
    actor = module_layers(nn.Sequential(extractor.policy_net, policy.action_net))
    critic = module_layers(nn.Sequential(extractor.value_net, policy.value_net))
    for made, gain in ((actor, ACTION_GAIN), (critic, VALUE_GAIN)):
        for layer in made.layers if policy.ortho_init else ():
            layer.orthogonal = HIDDEN_GAIN if layer is not made.layers[-1] else gain
            layer.weight_bound = layer.bias_bound = 0.0
    head = actor.layers[-1]
    head.log_std, head.log_std_start = getattr(policy, "log_std", None), getattr(policy, "log_std_init", 0.0)
    found = [id(parameter) for made in (actor, critic) for parameter in trainable(made.layers)]
    if len(set(found)) < len(found):
        raise InputError("methods cannot be attached to an actor and a critic that share parameters")
    others = [name for name, p in policy.named_parameters() if p.requires_grad and id(p) not in found]
    if others:
        raise InputError(
            f"methods cannot be attached to this {type(policy).__name__}: "
            f'"{others[0]}" belongs to the linear layers of neither actor nor critic; '
            "use MlpPolicy, whose feature extractor has nothing to train"
        )
    return {"actor": actor, "critic": critic}


class ArchitecturePolicy(ActorCriticPolicy):
    """SB3's MlpPolicy with the hidden layers of ``architecture``: ``layer-norm``, ``crelu``, ``deep-fourier``
    or several with + between them. Actor and critic are changed each by itself."""

    def __init__(self, *arguments: Any, architecture: str = "layer-norm", **options: Any) -> None:
        self.architecture = architecture
        super().__init__(*arguments, **options)

    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()
        extractor, distribution = self.mlp_extractor, self.action_dist
        # A list where there are several discrete actions.
        actions: Any = getattr(distribution, "action_dims", None) or getattr(distribution, "action_dim", 1)
        outputs = sum(actions) if isinstance(actions, list) else int(actions)
        extractor.policy_net, extractor.latent_dim_pi = self._changed(extractor.policy_net, outputs)
        extractor.value_net, extractor.latent_dim_vf = self._changed(extractor.value_net, 1)

    def _changed(self, network: nn.Sequential, outputs: int) -> tuple[nn.Sequential, int]:
        """The hidden layers that take the place of these, and how many numbers they make."""
        method = create_method(self.architecture)
        widths = tuple(module.out_features for module in network if isinstance(module, nn.Linear))
        plain = NetworkSpec((self.features_dim,), outputs, widths)
        spec = method.network(plain)
        if spec == plain or any(map(method.uses, HOOKS)):
            raise InputError(
                f'architecture "{self.architecture}": only what changes the network and nothing else can '
                "be built in; attach the others"
            )
        check_acting(spec, self.architecture)
        *hidden, head = (shape.weight for shape in layer_shapes(spec))
        layers: list[nn.Module] = []
        for out, width in hidden:
            norm = [nn.LayerNorm(out)] if spec.norm else []
            wide = spec.activation in WIDENING
            layers += [
                nn.Linear(width, out),
                *norm,
                Widened(spec.activation) if wide else self.activation_fn(),
            ]
        return nn.Sequential(*layers).to(self.device), head[1]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "architecture": self.architecture}


class Widened(nn.Module):
    """An activation that makes several numbers of one unit's, by its name in ``networks.ACTIVATIONS``."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return ACTIVATIONS[self.name](z, -1)
