if __name__ == "tasks":
    raise ImportError("import plasticity_bench.tasks: the folder tasks/ is installed under that name")
