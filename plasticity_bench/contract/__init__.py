"""What every method must fulfil: the checks of ``plasticity_bench check``.

The tests run them for all built-in methods.
"""

#: The stream of the checks. Its data come with the package. It has three tasks of 112 updates, so all
#: diagnostics are measured and two task boundaries are passed.
STREAM = "permuted-digits:tasks=3"
