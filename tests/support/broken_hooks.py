"""Methods whose hooks break the contract."""

from __future__ import annotations

from plasticity_bench.contract.results import Verdict
from tests.support.broken_methods import GOOD, INFO, Case, each, info

#: Mistakes that show in the benchmark's own learner.
TRAINING = {
    "uphill": Case("learning", each("p.grad.mul_(-1)"), ("the loss does not fall", "sign")),
    "not finite": Case(
        "learning", each("p.grad.div_(0)"), ("linear1.weight is not finite after 5 updates", "division")
    ),
    "raises": Case(
        "learning",
        "def before_update(self, layers, optimizer):\n    layers[0].weight.t()  # here\n",
        ("RuntimeError: t() expects", "layers[0].weight.t()", "(..., out, in)"),
    ),
    "features": Case(
        "learning",
        "def after_update(self, layers, optimizer):\n    layers[0].features.mean()  # here\n",
        ("AttributeError", "needs_features"),
    ),
    "param_groups": Case(
        "learning",
        "def after_update(self, layers, optimizer):\n    optimizer.param_groups[0]  # here\n",
        ("AttributeError", "moments(parameter)"),
    ),
    "number": Case(
        "hooks",
        "def penalty(self, layers):  # here\n    return sum(float(p.sum()) for p in parameters(layers))\n",
        ("penalty returns a float", "float()"),
    ),
    "constant": Case(
        "hooks",
        "def penalty(self, layers):  # here\n    return layers[0].bias.detach().sum(-1)\n",
        ("penalty returns a value without a gradient", ".detach()"),
    ),
    "returns": Case(
        "hooks",
        "def before_update(self, layers, optimizer):  # here\n    return list(parameters(layers))\n",
        ("before_update returns a list", "in place"),
    ),
    "torch.randn": Case(
        "random",
        "def after_update(self, layers, optimizer):  # here\n"
        "    for p in parameters(layers): p.add_(torch.randn_like(p), alpha=self.strength)\n",
        ("after_update draws from torch's global generator", "self.rng.normal(like)"),
    ),
    "numpy.random": Case(
        "random",
        "def setup(self, layers, rng):  # here\n    self.scale = float(np.random.rand())\n",
        ("setup draws from numpy's global generator",),
    ),
    "random.random": Case(
        "random",
        "def before_update(self, layers, optimizer):  # here\n    random.random()\n",
        ("before_update draws from Python's global generator",),
    ),
    "when made": Case(
        "random",
        "def __post_init__(self):\n    self.scale = float(torch.rand(()))\n",
        ("making the method draws from torch's",),
    ),
    "unseeded": Case(
        "repeat",
        each("p.add_(1e-4 * np.random.default_rng().random())", "after_update"),
        ("trained twice give different results", "setup is given"),
    ),
    "between instances": Case(
        "repeat",
        "made: ClassVar[list] = []\n"
        "def setup(self, layers, rng):\n    self.made.append(1)\n" + each("p.grad.mul_(len(self.made))"),
        ("trained twice give different results", "between two instances"),
    ),
    "sum over everything": Case(
        "stack",
        "def before_update(self, layers, optimizer):  # here\n"
        "    for p in parameters(layers): p.grad.mul_(1 / (1 + p.grad.square().sum()))\n",
        ("after before_update the gradient of linear", "of its size", "never over everything"),
    ),
    "norm in a penalty": Case(
        "stack",
        "def penalty(self, layers):  # here\n    return 0.01 * sum(p.norm() for p in parameters(layers))\n",
        ("after penalty its gradient for", "never over everything"),
    ),
    "scale at the start": Case(
        "stack",
        "def setup(self, layers, rng):\n    self.scale = layers[0].weight.detach().std()\n"
        "def before_update(self, layers, optimizer):  # here\n"
        "    for p in parameters(layers): p.grad.add_(p, alpha=float(self.scale))\n",
        ("after before_update the gradient of", "the same holds for self.scale"),
    ),
    "at the end of a task": Case(
        "stack",
        "def on_task_end(self, layers, optimizer):  # here\n"
        "    for p in parameters(layers): p.sub_(p.mean())\n",
        ("after on_task_end linear",),
        info=INFO + ", task_boundaries=True",
    ),
    "last digits": Case(
        "stack",
        each("p.grad.mul_(1 + 2e-7 * len(p))"),
        ("in its last digits", "last dimensions of whole tensors"),
    ),
    "moves the start": Case(
        "start",
        "def setup(self, layers, rng):  # here\n    layers[1].weight.mul_(0.5)\n",
        ("setup moves the initial weights (linear2.weight by up to 0.05",),
        Verdict.WARNING,
    ),
    "other data": Case(
        "start",
        "def setup(self, layers, rng):\n"
        "    from plasticity_bench.seeding import PURPOSES\n    PURPOSES['data'] = 9\n",
        ("the data are not those of plain training",),
    ),
    "generator of its own": Case(
        "checkpoint",
        "def setup(self, layers, rng):\n    self.kept = {'draws': [np.random.default_rng(0)]}\n",
        ("self.kept (dict with a list with a Generator)", "setup is given"),
    ),
    "state elsewhere": Case(
        "checkpoint",
        "strengths: ClassVar[dict] = {}\n"
        "def setup(self, layers, rng):\n    self.strengths[id(self)] = 0\n"
        "def before_update(self, layers, optimizer):\n    self.strengths[id(self)] += 1\n"
        "    for p in parameters(layers): p.grad.add_(p, alpha=1e-4 * self.strengths[id(self)])\n",
        ("resumed from its checkpoint gives different results", "class attributes"),
    ),
    "incomplete state_dict": Case(
        "checkpoint",
        "def setup(self, layers, rng):\n    self.count = 0\n"
        "def state_dict(self): return {}\n"
        "def before_update(self, layers, optimizer):\n    self.count += 1\n"
        "    for p in parameters(layers): p.grad.add_(p, alpha=1e-4 * self.count)\n",
        ("resumed from its checkpoint gives different results", "state_dict of your own"),
    ),
    "never off": Case(
        "off",
        each("p.grad.add_(p, alpha=1e-3 + self.strength)"),
        ("with strength=0 it is still not plain training",),
    ),
    "off refused": Case(
        "off",
        GOOD + "def __post_init__(self):\n    if not self.strength: raise ValueError('must be positive')\n",
        ("info.off cannot be set: tried:strength=0: must be positive",),
    ),
    "no off": Case("off", GOOD, ("info.off names no settings",), Verdict.WARNING, info(off='""')),
    "no off, no settings": Case(
        "off",
        each("p.mul_(0.99)"),
        ("no settings that turn it off",),
        Verdict.INAPPLICABLE,
        info(off='""'),
        settings="",
    ),
    "no op": Case(
        "acts",
        "def before_update(self, layers, optimizer):\n    pass\n",
        ("changed nothing",),
        Verdict.WARNING,
    ),
    "new data": Case(
        "optimizer",
        "def after_update(self, layers, optimizer):\n    layers[1].bias.data = layers[1].bias.data.clone()\n",
        ("linear2.bias is no longer the tensor that the optimizer updates", "copy_"),
    ),
    "new parameter": Case(
        "optimizer",
        "def on_task_end(self, layers, optimizer):\n"
        "    layers[2].weight = torch.nn.Parameter(layers[2].weight.detach().clone())\n",
        ("linear3.weight is no longer the tensor that the optimizer updates",),
        info=INFO + ", task_boundaries=True",
    ),
    "new gradient": Case(
        "optimizer",
        each("p.grad = p.grad + self.strength * p.detach()"),
        ("the gradient of linear1.weight is no longer what the optimizer reads", "grad.add_"),
    ),
}

#: Mistakes that show in other networks or in other trainers.
OTHER_TRAINERS = {
    "counts from the front": Case(
        "plain",
        "def after_update(self, layers, optimizer):\n"
        "    for layer in layers: layer.weight.sub_(layer.weight.mean(1, keepdim=True))\n",
        ("without a seed dimension linear1.weight", "from the end"),
    ),
    "unpacks three": Case(
        "plain",
        "def setup(self, layers, rng):\n    s, o, i = layers[0].weight.shape  # here\n",
        ("ValueError: not enough values",),
    ),
    "matrices only": Case(
        "convolution",
        "def before_update(self, layers, optimizer):\n"
        "    for layer in layers: layer.bias.grad.add_(layer.weight.mean(-1))  # here\n",
        ("RuntimeError",),
    ),
    "kernels of all seeds": Case(
        "convolution",
        "def before_update(self, layers, optimizer):\n    for layer in layers:\n"
        "        if layer.kind == 'conv': layer.weight.grad.mul_(layer.weight.abs().mean())\n",
        ("in a convolutional network", "is not that of the seed alone", "flatten(layer.bias.dim())"),
    ),
    "kernels not finite": Case(
        "convolution",
        "def after_update(self, layers, optimizer):\n    for layer in layers:\n"
        "        if layer.kind == 'conv': layer.weight.fill_(float('inf'))\n",
        ("in a convolutional network conv1.weight is not finite",),
    ),
    "kernels from the front": Case(
        "convolution",
        "def after_update(self, layers, optimizer):\n    for layer in layers:\n"
        "        if layer.kind == 'conv': layer.weight.sub_(layer.weight.mean(1, keepdim=True))\n",
        ("without a seed dimension conv1.weight",),
    ),
    "shared by actor and critic": Case(
        "ppo",
        "kept: ClassVar[dict] = {}\n"
        "def setup(self, layers, rng):\n    self.kept.setdefault(0, layers[-1].weight.detach().clone())\n"
        "def before_update(self, layers, optimizer):\n"
        "    layers[-1].weight.grad.add_(self.kept[0] - layers[-1].weight.mean(-2, keepdim=True))  # here\n",
        ("RuntimeError",),
    ),
    "seeds mixed in PPO": Case(
        "ppo",
        "def before_update(self, layers, optimizer):\n    if layers[-1].bias.shape[-1] == 1:\n"
        "        layers[-1].bias.grad.add_(layers[-1].bias.mean())\n",
        ("in PPO the", "of a seed in a stack is not that of the seed alone"),
    ),
    "last digits in PPO": Case(
        "ppo", each("p.grad.mul_(1 + 2e-7 * len(p))"), ("in its last digits",), Verdict.WARNING
    ),
    "not finite in PPO": Case(
        "ppo",
        "def after_update(self, layers, optimizer):\n    layers[0].bias.fill_(float('inf'))\n",
        (
            "in PPO the actor's linear1",
            "is not finite",
        ),
    ),
    "not for PPO": Case(
        "ppo",
        "def network(self, spec):\n    if spec.outputs == 1: raise InputError('tried: no value networks')\n"
        "    return spec\n",
        ("tried: no value networks",),
        Verdict.INAPPLICABLE,
    ),
    "optimizer's buffer": Case(
        "torch",
        "def after_update(self, layers, optimizer):\n    optimizer.flat.mul_(1 - 1e-4)  # here\n",
        ("AttributeError", "moments(parameter)"),
    ),
    "stacks only": Case(
        "torch",
        "def before_update(self, layers, optimizer):\n    for layer in layers:\n"
        "        if layer.weight.dim() == 3: layer.weight.grad.add_(layer.weight)\n",
        ("attached to a torch network, linear1.weight does not end as",),
    ),
    "another network": Case(
        "torch",
        "def network(self, spec): return replace(spec, norm='layer')\n",
        ("changes the network",),
        Verdict.INAPPLICABLE,
    ),
    "optimizer's buffer in SB3": Case(
        "sb3",
        "def after_update(self, layers, optimizer):\n    optimizer.flat.mul_(1 - 1e-4)  # here\n",
        ("AttributeError", "moments(parameter)"),
    ),
    "SB3 twice": Case(
        "sb3",
        "made: ClassVar[list] = []\n"
        "def setup(self, layers, rng):\n    self.made.append(1)\n" + each("p.grad.add_(len(self.made))"),
        ("the same seed gives different results", "attributes of self"),
    ),
    "not finite in SB3": Case(
        "sb3",
        "def on_task_end(self, layers, optimizer):\n    layers[0].bias.fill_(float('inf'))\n",
        ("in stable-baselines3's PPO the weights are not finite",),
        info=INFO + ", task_boundaries=True",
    ),
    "another network in SB3": Case(
        "sb3",
        "def network(self, spec): return replace(spec, norm='layer')\n",
        ("changes the network",),
        Verdict.INAPPLICABLE,
    ),
    "cost": Case("cost", GOOD, ("x the time of none",), Verdict.INFORMATION),
    "cost of a failure": Case(
        "cost", "def after_update(self, layers, optimizer):\n    1 / 0  # here\n", ("ZeroDivisionError",)
    ),
}
