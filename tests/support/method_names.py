"""Kinds of built-in methods, and variants of them that reach other code."""

from __future__ import annotations

from tests.support.paths import REPOSITORY

#: References, and methods that cannot be turned off by a coefficient.
ALWAYS_ON = {"none", "reset", "head-reset", "trac"}

#: Methods that change only the network: no coefficient makes them ``none``.
NEVER_OFF = {"layer-norm", "batch-norm", "crelu", "deep-fourier"}

#: Methods that change the network, so they cannot be attached to an existing one.
ARCHITECTURES = {*NEVER_OFF, "dropout", "normalize-and-project", "plasticity-injection"}

#: Methods whose default schedule does nothing in a short run -> settings with which they act.
SOON = {
    "redo": "period=100",
    "regrama": "period=100",
    "snr": "window=50",
    "plasticity-injection": "after=1",
    "hare-tortoise": "decay=0.9,period=50",
}

#: Methods with options that reach code which the defaults do not.
VARIANTS = (
    "l2:decoupled=true",
    "l2-init:decoupled=true",
    "shrink-perturb:interval=1,shrink=1e-4,noise=1e-4",
    "upgd:protect=false",
    "syre:decoupled=true",
    "syre:anisotropy=0.1",
    "syre-redrawn:decoupled=true",
    "cbp:rate=0.01,maturity=10",
    *(f"{name}:{schedule}" for name, schedule in SOON.items()),
    "layer-norm+cbp:rate=0.01",
    "layer-norm+l2-init",
    "swr:period=3,share=0.001",
    "syre+shrink-perturb",
    "dropout:p=0.5+l2",
    "batch-norm+cbp:rate=0.01",
    "batch-norm+dropout",
    "batch-norm+layer-reset",
    "normalize-and-project:normalize=false,output=true",
    "layer-norm+hare-tortoise:decay=0.9,period=50",
    "batch-norm+hare-tortoise:decay=0.9,period=50,clear=true",
    "plasticity-injection:after=1,head=1",
    "batch-norm+plasticity-injection:after=1",
    "dropout+plasticity-injection:after=1,head=9",
    "redo:period=20,tau=0.5,fresh_count=true",
    "snr:limit=100,fresh_count=true",
    "swr:period=3,share=0.001,fresh_count=true",
)

EXAMPLE = f"{REPOSITORY}/examples/sign_decay.py:SignDecay"


#: Part of a method's name or settings -> why its updates are not captured. All others are.
NOT_CAPTURED = {
    "dropout": "random numbers",
    "upgd": "random numbers",
    "syre-redrawn": "random numbers",
    "cbp": "updates",
    "snr": "updates",
    "l2-er": "_linalg_eigh",
}
