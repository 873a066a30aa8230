"""One module per command, with SUMMARY, configure(parser) and run(args) -> exit code.

They import slow packages only when they run. ``options`` and ``next_steps`` are not commands: the commands
share them.
"""
