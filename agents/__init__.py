if __name__ == "agents":
    raise ImportError("import plasticity_bench.agents: the folder agents/ is installed under that name")
