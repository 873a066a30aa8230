"""A plasticity method in an Avalanche strategy: `python examples/avalanche_naive.py cbp:rate=1e-3`.

The plug-in works with any strategy: Naive, Replay, EWC, ... The benchmark has five experiences: the digits of
scikit-learn under five permutations of the pixels. Nothing is downloaded. Prints the accuracy after
each experience.
"""

import argparse

import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.utils import as_classification_dataset
from avalanche.models import SimpleMLP
from avalanche.training import Naive
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

from plasticity_bench.agents.adapters.avalanche import PlasticityPlugin

arguments = argparse.ArgumentParser(description="Naive training with a plasticity method")
arguments.add_argument("method", nargs="?", default="syre:strength=1e-3")
options = arguments.parse_args()

torch.manual_seed(0)
images, labels = (torch.tensor(array) for array in load_digits(return_X_y=True))
datasets = []
for _ in range(5):
    data = TensorDataset(images[:, torch.randperm(64)].float() / 16, labels)
    data.targets = labels.tolist()
    datasets.append(data)
benchmark = benchmark_from_datasets(train=[as_classification_dataset(data) for data in datasets])

model = SimpleMLP(num_classes=10, input_size=64, hidden_size=100, drop_rate=0)
optimizer = torch.optim.Adam(model.parameters(), 0.003)
plugin = PlasticityPlugin(options.method)
strategy = Naive(model=model, optimizer=optimizer, train_mb_size=16, plugins=[plugin], evaluator=None)
for i, experience in enumerate(benchmark.train_stream):
    strategy.train(experience)
    x, y = datasets[i].tensors
    accuracy = (model.eval()(x).argmax(1) == y).float().mean()
    print(f"{options.method}, experience {i}: accuracy {accuracy:.3f}")
