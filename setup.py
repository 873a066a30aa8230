"""Maps the root folders envs/, agents/ and tasks/ into the package.

Their names are too general for site-packages (another published package installs a top-level
``agents``), so they are installed and imported as ``plasticity_bench.envs``, ``.agents`` and ``.tasks``.
The symbolic links of these names in plasticity_bench/ are for editors and mypy only; an installation works
without them.
"""

from setuptools import find_packages, setup

FOLDERS = ("envs", "agents", "tasks")

packages = set(find_packages(include=["plasticity_bench", "plasticity_bench.*"]))
for folder in FOLDERS:
    packages.update(f"plasticity_bench.{name}" for name in find_packages(include=[folder, f"{folder}.*"]))

setup(
    packages=sorted(packages),
    package_dir={f"plasticity_bench.{folder}": folder for folder in FOLDERS},
    package_data={"plasticity_bench": ["py.typed"], "plasticity_bench.page": ["assets/*"]},
)
