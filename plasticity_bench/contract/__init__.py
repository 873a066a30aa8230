"""What every method must fulfil: the checks of ``plasticity_bench check``, which the tests run for all
methods."""

#: What the checks train on: embedded data, three tasks of 112 updates; all diagnostics are measured, and two
#: boundaries passed.
STREAM = "permuted-digits:tasks=3"
