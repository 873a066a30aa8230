"""For every hook and every rule of the contract that applies to it, a method that breaks the rule there.

The rules that apply follow from the hook's entry in ``HOOKS``. A new hook needs an entry in every table below
that one of its rules reads; ``tests/contract/test_rules.py`` fails until it has them.
"""

from __future__ import annotations

from collections.abc import Sequence

from plasticity_bench.agents.methods.base import Hook
from tests.support.broken_methods import INFO, Case

#: Rule -> the check that catches it.
CHECK_OF = {
    "arguments": "definition",
    "name": "definition",
    "raises": "hooks",
    "returns": "hooks",
    "changes": "hooks",
    "draws": "random",
    "repeat": "repeat",
    "finite": "learning",
    "stack": "stack",
    "plain": "plain",
    "checkpoint": "checkpoint",
    "optimizer": "optimizer",
    "torch": "torch",
}


def rules_of(hook: Hook) -> set[str]:
    """The rules that apply to a hook."""
    found = {"arguments", "name", "raises", "returns", "draws"}
    if hook.returns != "network" and len(hook.may_change) < 2:  # network runs before there are weights
        found.add("changes")
    if hook.sees_layers:
        found |= {"repeat", "finite", "stack", "plain", "checkpoint", "optimizer", "torch"}
    if hook.when == "checkpoint":
        found.add("checkpoint")
    return found


def define(hook: Hook, lines: Sequence[str], name: str = "", parameters: str = "", before: str = "") -> str:
    """The hook with these lines; the result must name its first line."""
    given = parameters or ", ".join(hook.parameters)
    body = "".join(f"    {line}\n" for line in lines)
    return f"{before}def {name or hook.name}({given}):  # here\n{body}"


def base(hook: Hook) -> str:
    """The call of the hook as ``Method`` defines it."""
    return f"return super().{hook.name}({', '.join(hook.parameters[1:])})"


#: What a hook must not return, by what it returns.
WRONG_RESULTS = {
    "nothing": ("5", "returns a int, which is not used"),
    "network": ("{}", "network() returned dict, not a NetworkSpec"),
    "loss term": ("1.0", "returns a float"),
    "layers": ("{}", "returns a dict that is no list of layers"),
    "count": ("1.5", "returns 1.5"),
    "truth": ("None", "returns a NoneType"),
    "state": ("[]", "returns a list"),
}

#: A method that keeps the layers, so that any hook can reach them.
KEEP = "def setup(self, layers, rng):\n    self.kept = layers\n"

#: Hook -> lines that draw from a generator without a seed, and train with what they draw.
UNSEEDED = {
    "setup": ["layers[0].weight.mul_(1 + 1e-3 * np.random.default_rng().random())"],
    "penalty": ["return np.random.default_rng().random() * layers[0].weight.square().sum((-2, -1))"],
    "feature_penalty": ["return np.random.default_rng().random() * features.square().sum((-2, -1))"],
    "before_update": ["layers[0].weight.grad.mul_(np.random.default_rng().random())"],
    "after_update": ["layers[0].weight.mul_(1 - 1e-3 * np.random.default_rng().random())"],
    "on_task_end": ["layers[0].weight.mul_(1 - 1e-3 * np.random.default_rng().random())"],
}

#: Hook -> (lines after which a number is not finite, the message).
NOT_FINITE = {
    "setup": (["layers[0].weight.fill_(float('nan'))"], "linear1.weight is not finite after 5 updates"),
    "penalty": (["return float('nan') * layers[0].weight.sum((-2, -1))"], "is not finite after 5 updates"),
    "feature_penalty": (["return float('nan') * features.sum((-2, -1))"], "is not finite after 5 updates"),
    "before_update": (["layers[0].weight.grad.fill_(float('nan'))"], "is not finite after 5 updates"),
    "after_update": (["layers[0].weight.fill_(float('inf'))"], "is not finite after 5 updates"),
    "on_task_end": (
        ["layers[0].weight.fill_(float('inf'))"],
        "linear1.weight is not finite after the end of the first task",
    ),
}

#: Hook -> (lines that reduce over all seeds, the message).
ACROSS_SEEDS = {
    "setup": (["layers[0].weight.sub_(layers[0].weight.mean())"], "after setup linear1.weight of a seed"),
    "penalty": (["return 0.01 * layers[0].weight.norm()"], "after penalty its gradient for linear1.weight"),
    "feature_penalty": (
        ["return 0.01 * features.norm()"],
        "after feature_penalty its gradient for the features of linear",
    ),
    "before_update": (
        ["layers[0].weight.grad.sub_(layers[0].weight.grad.mean())"],
        "after before_update the gradient of linear1.weight of a seed",
    ),
    "after_update": (
        ["layers[0].weight.sub_(1e-3 * layers[0].weight.mean())"],
        "after after_update linear1.weight of a seed",
    ),
    "on_task_end": (
        ["layers[0].weight.sub_(layers[0].weight.mean())"],
        "after on_task_end linear1.weight of a seed",
    ),
}

#: Hook -> (lines that count dimensions from the front, the message).
FROM_THE_FRONT = {
    "setup": (
        ["layers[0].weight.sub_(layers[0].weight.mean(1, keepdim=True))"],
        "without a seed dimension linear1.weight",
    ),
    "penalty": (
        ["return layers[0].weight.mean(1).square().sum()"],
        "without a seed dimension linear1.weight",
    ),
    "feature_penalty": (
        ["return features.mean(1).square().sum()"],
        "without a seed dimension the gradient of feature_penalty for the features of linear1",
    ),
    "before_update": (
        ["layers[0].weight.grad.sub_(layers[0].weight.mean(1, keepdim=True))"],
        "without a seed dimension linear1.weight",
    ),
    "after_update": (
        ["layers[0].weight.sub_(layers[0].weight.mean(1, keepdim=True))"],
        "without a seed dimension linear1.weight",
    ),
    "on_task_end": (
        ["layers[0].weight.sub_(layers[0].weight.mean(1, keepdim=True))"],
        "without a seed dimension linear1.weight",
    ),
}

#: Counts its calls in a place that no checkpoint saves.
_COUNTS = (
    "counts: ClassVar[dict] = {}\n"
    "def setup(self, layers, rng):\n    self.counts[id(self)] = 0\n"
    "def count(self):\n    self.counts[id(self)] += 1\n    return 1e-4 * self.counts[id(self)]\n"
)
#: Counts its calls in an attribute.
_COUNTED = (
    "def setup(self, layers, rng):\n    self.count = 0\n"
    "def after_update(self, layers, optimizer):\n"
    "    self.count += 1\n    layers[0].weight.mul_(1 - 1e-5 * self.count)\n"
)
_DIFFERENT_RESULTS = "resumed from its checkpoint gives different results"
#: Hook -> (code before it, its lines, the message): state that a checkpoint does not save.
LOST_STATE = {
    "setup": (
        "",
        ["self.draws = {'own': [np.random.default_rng(0)]}"],
        "self.draws (dict with a list with a",
    ),
    "penalty": (
        _COUNTS,
        ["return self.count() * layers[0].weight.square().sum((-2, -1))"],
        _DIFFERENT_RESULTS,
    ),
    "feature_penalty": (
        _COUNTS,
        ["return self.count() * features.square().sum((-2, -1))"],
        _DIFFERENT_RESULTS,
    ),
    "before_update": (_COUNTS, ["layers[0].weight.grad.add_(self.count())"], _DIFFERENT_RESULTS),
    "after_update": (_COUNTS, ["layers[0].weight.mul_(1 - self.count())"], _DIFFERENT_RESULTS),
    "on_task_end": (_COUNTS, ["layers[0].weight.mul_(1 - self.count())"], _DIFFERENT_RESULTS),
    "state_dict": (_COUNTED, ["return {}"], _DIFFERENT_RESULTS),
    "load_state_dict": (_COUNTED, ["pass"], _DIFFERENT_RESULTS),
}

#: Hook -> lines that put another tensor in a parameter's place.
REPLACED = {
    "setup": ["layers[1].bias.data = layers[1].bias.data.clone()"],
    "penalty": ["layers[1].bias.data = layers[1].bias.data.clone()"],
    "feature_penalty": ["layer.bias.data = layer.bias.data.clone()"],
    "before_update": ["layers[1].bias.data = layers[1].bias.data.clone()"],
    "after_update": ["layers[1].bias.data = layers[1].bias.data.clone()"],
    "on_task_end": ["layers[1].bias.data = layers[1].bias.data.clone()"],
}

#: Hook -> lines that act only in a stack, not in a torch loop.
STACKS_ONLY = {
    "setup": ["if layers[0].weight.dim() == 3: layers[0].weight.mul_(0.5)"],
    "penalty": ["return layers[0].weight.square().sum((1, 2)) if layers[0].weight.dim() == 3 else None"],
    "feature_penalty": ["return features.square().sum((1, 2)) if features.dim() == 3 else None"],
    "before_update": ["if layers[0].weight.dim() == 3: layers[0].weight.grad.add_(layers[0].weight)"],
    "after_update": ["if layers[0].weight.dim() == 3: layers[0].weight.mul_(0.9)"],
    "on_task_end": ["if layers[0].weight.dim() == 3: layers[0].weight.mul_(0.5)"],
}


def broken(hook: Hook, rule: str) -> Case:
    """A method that breaks this rule in this hook. Raises KeyError if the tables hold none."""
    check = CHECK_OF[rule]
    info = INFO + (", task_boundaries=True" if hook.when == "boundary" else "")
    name, before, parameters = hook.name, "", ""
    match rule:
        case "arguments":
            lines, parameters = ["pass"], "self, *, other"
            says = f"{name} is called with {len(hook.parameters) - 1} arguments and takes others"
        case "name":
            name += "x"
            lines, says = ["pass"], f"did you mean {hook.name}?"
        case "raises":
            lines, says = ["1 / 0"], "ZeroDivisionError"
        case "returns":
            result, says = WRONG_RESULTS[hook.returns]
            lines, says = [f"return {result}"], says if hook.returns == "network" else f"{name} {says}"
        case "changes":
            layers = "layers" if "layers" in hook.parameters else "self.kept"
            before = "" if layers == "layers" else KEEP
            what = ".data" if "weights" not in hook.may_change else ".grad"
            guard = (
                "" if layers == "layers" else "if hasattr(self, 'kept'): "
            )  # uses is called before setup too
            lines = [f"{guard}{layers}[0].weight{what}.add_(1e-3)", base(hook)]
            says = (
                f"{name} changes {'linear1.weight' if what == '.data' else 'the gradient of linear1.weight'}"
            )
        case "draws":
            lines, says = ["torch.rand(())", base(hook)], f"{name} draws from torch's global generator"
        case "repeat":
            lines, says = UNSEEDED[name], "the same seeds trained twice give different results"
        case "finite":
            lines, says = NOT_FINITE[name]
        case "stack":
            lines, says = ACROSS_SEEDS[name]
        case "plain":
            lines, says = FROM_THE_FRONT[name]
        case "checkpoint":
            before, lines, says = LOST_STATE[name]
        case "optimizer":
            lines, says = REPLACED[name], "is no longer the tensor that the optimizer updates"
        case "torch":
            lines, says = STACKS_ONLY[name], "attached to a torch network"
        case _:
            raise KeyError(rule)
    body = define(hook, lines, name, parameters, before)
    if check in ("repeat", "learning", "plain", "checkpoint", "optimizer", "torch"):  # they name no line
        body = body.replace("  # here", "")
    if rule == "raises":
        body = body.replace("  # here", "").replace("1 / 0", "1 / 0  # here")
    return Case(check, body, (says,), info=info)
