"""Methods in stable-baselines3's on-policy algorithms (PPO, A2C), whose training loop stays as it is.

``attach`` attaches a method to a model. A method that changes the network is built in by
``ArchitecturePolicy``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from plasticity_bench.agents.adapters.module_layers import ModuleLayers, module_layers
from plasticity_bench.agents.adapters.torch_adapter import Attachment, MethodLike
from plasticity_bench.agents.forward import ACTIVATIONS
from plasticity_bench.agents.layers import trainable
from plasticity_bench.agents.methods.base import HOOKS
from plasticity_bench.errors import InputError
from plasticity_bench.registry.create import create_method
from plasticity_bench.specs import WIDENING, NetworkSpec, check_acting, layer_shapes

#: Gains of SB3's orthogonal initialisation: hidden layers, action head, value head.
HIDDEN_GAIN, ACTION_GAIN, VALUE_GAIN = 2**0.5, 0.01, 1.0


def attach(
    method: MethodLike, model: OnPolicyAlgorithm, *, state: Mapping[str, Any] | None = None
) -> Attachment:
    """Attaches a method to a stable-baselines3 model: from now on it acts in every gradient step.

    Actor and critic get a method each: for the hidden layers and the action head, and for the hidden layers
    and the value head. Fresh weights are drawn from SB3's initial distribution. The method acts after SB3 has
    clipped the gradients (``max_grad_norm``), and what it adds to them is not clipped: SB3 has no earlier
    hook. ``model.save`` and ``load`` do not include the method: save ``attached.state_dict()`` too. A second
    ``attach`` adds a second method.

    Args:
        method: A name with settings as on the command line (``"syre:strength=1e-3"``), a Method, or a class
            or function that makes one. A Method is copied, so that it can be attached several times.
        model: A PPO or A2C model with an actor-critic perceptron as its policy (``"MlpPolicy"``). Its seed is
            that of the methods' random numbers too; 0 if it has none.
        state: ``state_dict()`` of an earlier attachment. The method continues from it, and the weights stay
            as they are: load those of that time first.

    Returns:
        The attachment: call its ``task_end()`` when the task changes, between two calls of ``model.learn``.

    Raises:
        InputError: The policy is another one, or the method changes the network.

    Example:
        >>> from stable_baselines3 import PPO
        >>> model = PPO("MlpPolicy", "CartPole-v1", n_steps=64, batch_size=32, device="cpu")
        >>> attached = attach("syre:strength=1e-3", model)
        >>> _ = model.learn(64)
        >>> attached.task_end()
    """
    policy: Any = getattr(model, "policy", None)
    if not hasattr(getattr(policy, "mlp_extractor", None), "policy_net"):
        raise InputError(
            f"methods cannot be attached to this {type(model).__name__}: supported are on-policy algorithms "
            "with an actor-critic policy of stable-baselines3 (PPO, A2C)"
        )
    return Attachment(chains(policy), policy.optimizer, method, model.seed or 0, state)


def chains(policy: ActorCriticPolicy) -> dict[str, ModuleLayers]:
    """The layers of actor and critic. Raises InputError if they share parameters or have others."""
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
    """SB3's MlpPolicy with the hidden layers of a method that changes the network, in actor and critic.

    Args:
        arguments: Those of SB3's ActorCriticPolicy.
        architecture: ``layer-norm``, ``crelu``, ``deep-fourier``, or several with + between them.
        options: Those of SB3's ActorCriticPolicy.

    Raises:
        InputError: The method does more than change the network, or is not for agents that act.

    Example:
        >>> from stable_baselines3 import PPO
        >>> options = {"architecture": "layer-norm"}
        >>> model = PPO(ArchitecturePolicy, "CartPole-v1", policy_kwargs=options, device="cpu")
    """

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
        """The hidden layers that replace these, and the number of their outputs."""
        method = create_method(self.architecture)
        widths = tuple(module.out_features for module in network if isinstance(module, nn.Linear))
        plain = NetworkSpec((self.features_dim,), outputs, widths)
        spec = method.network(plain)
        acts = any(method.uses(hook.name) for hook in HOOKS if hook.when in ("update", "boundary"))
        if spec == plain or acts:
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
    """An activation with several outputs per unit, by its name in ``agents.forward.ACTIVATIONS``."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return ACTIVATIONS[self.name](z, -1)
