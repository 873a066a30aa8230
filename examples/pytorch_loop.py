"""A plasticity method in a plain PyTorch loop: `python examples/pytorch_loop.py cbp:rate=1e-3`.

Trains on twenty tasks: scikit-learn's digits under twenty permutations of the pixels. Prints the accuracy
in the first three and in the last three tasks, without the method and with it. Accuracy is measured while
the network learns, on each batch before it is trained on it.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn

from plasticity_bench.agents.adapters.torch_adapter import attach

arguments = argparse.ArgumentParser(description="permuted digits with a plasticity method")
arguments.add_argument("method", nargs="?", default="l2-init:strength=1e-2")
arguments.add_argument("tasks", nargs="?", type=int, default=20)
options = arguments.parse_args()

images, labels = (torch.tensor(array) for array in load_digits(return_X_y=True))
images = (images.float() - images.mean()) / images.std()
for method in ("none", options.method):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    attached = attach(method, model, optimizer)
    accuracies = []
    for _ in range(options.tasks):
        pixels, order, right = torch.randperm(64), torch.randperm(len(images)), 0
        for batch in order.split(16):
            outputs = model(images[batch][:, pixels])
            right += int((outputs.argmax(1) == labels[batch]).sum())
            optimizer.zero_grad()
            nn.functional.cross_entropy(outputs, labels[batch]).backward()
            optimizer.step()
        accuracies.append(right / len(images))
        attached.task_end()
    first, last = sum(accuracies[:3]) / 3, sum(accuracies[-3:]) / 3
    print(f"{method}: accuracy {first:.3f} in the first three tasks, {last:.3f} in the last three")
