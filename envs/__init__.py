if __name__ == "envs":
    raise ImportError("import plasticity_bench.envs: the folder envs/ is installed under that name")
