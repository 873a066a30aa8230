"""A plug-in method, as a user would write it, and one that fails."""

GOOD = '''"""Adds noise to the weights after every update."""

from dataclasses import dataclass
from typing import ClassVar

from plasticity_bench.agents.methods import Method, MethodInfo


@dataclass
class Noise(Method):
    info: ClassVar[MethodInfo] = MethodInfo(
        name="noise", summary="noise at every update", search_space={"strength": (1e-4, 1e-3)}
    )
    strength: float = 1e-4

    def setup(self, layers, rng):
        self.rng = rng

    def after_update(self, layers, optimizer):
        for layer in layers:
            for parameter in layer.parameters():
                parameter.add_(self.rng.normal(parameter), alpha=self.strength)
'''

#: ``GOOD`` that sleeps at every update until a file ``go`` appears next to its own file. The seconds come
#: from its setting or the environment. It takes wall time but no processor time.
SLOW = (
    GOOD.replace("import dataclass\n", "import dataclass\nimport os\nimport time\nfrom pathlib import Path\n")
    .replace("    strength: float = 1e-4\n", "    strength: float = 1e-4\n    wait: float = 0.0\n")
    .replace(
        "    def after_update(self, layers, optimizer):\n",
        "    def after_update(self, layers, optimizer):\n"
        '        if not Path(__file__).with_name("go").exists():\n'
        '            time.sleep(self.wait or float(os.environ.get("TEST_WAIT", "0")))\n',
    )
)

#: Can be imported and made, but fails at its first update.
FAILING = GOOD.replace('"noise"', '"failing"').replace(
    "        for layer in layers:",
    '        raise ZeroDivisionError("on\\npurpose")\n        for layer in layers:',
    1,
)
