"""The batches of `test_batch_devices.py` and `test_batch_hosts.py`, as a program.

`python batched.py NAME ...` prints the bits of each result in a line of JSON, for whatever devices
XLA_FLAGS makes. With `--process RANK PORT` it is one of two processes on this machine;
`--killed NAME` ends process 1 without warning before that batch; `--rounds FILE` runs batches of
four problems and keeps what is done in a file.
"""

import hashlib
import json
import os
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np

import bilevel
from attacks import poison_svm
from bilevel import Data
from bilevel.learners import SVM

HEARTBEAT = 10  # seconds


def roots(key, number):
    """Newton's square root of the number, from a random start: lanes take 5 to 30 steps."""
    start = number * jnp.exp(5 * jax.random.normal(key))

    def step(state):
        x, _, steps = state
        return (x + number / x) / 2, x, steps + 1

    x, _, steps = jax.lax.while_loop(lambda s: s[0] != s[1], step, (start, 0 * start, 0))
    return {"root": x, "steps": steps, "key": jax.random.fold_in(key, steps), "rule": "Newton"}


def many_roots(size=None):
    numbers = jnp.arange(1.0, 12.0)
    return bilevel.batch(roots, size)(jax.random.split(jax.random.key(1), 11), numbers)


def shared_slopes():
    """A gradient in an array that all problems share."""
    shared = jnp.arange(3.0)

    def slope(x):
        return jax.grad(lambda w: jnp.sum(jnp.sin(w * x)))(shared)

    return bilevel.batch(slope)(jnp.arange(15.0).reshape(5, 3))


def attacked():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(24, 4)), np.sign(rng.normal(size=24))
    train, validation = Data(x, y), Data(rng.uniform(size=(30, 4)), np.sign(rng.normal(size=30)))

    def attack(start):
        return poison_svm(train, start, jnp.ones(1), validation, SVM(), steps=12).climb()

    return bilevel.batch(attack)(x[:7, None])


def in_rounds(file: str, before=lambda name: None):
    """Roots of 16 numbers, four at a time: as the guide `docs/scale.md` does."""
    keys, numbers = jax.random.split(jax.random.key(2), 16), jnp.arange(1.0, 17.0)
    checkpoint = bilevel.Checkpoint(file)
    done = checkpoint.load(jnp.zeros(0))
    done = jnp.zeros(0) if done is None else done
    while len(done) < 16:
        before(f"round {len(done) // 4}")
        rows = slice(len(done), len(done) + 4)
        done = jnp.append(done, bilevel.batch(roots)(keys[rows], numbers[rows])["root"])
        if jax.process_index() == 0:
            checkpoint.save(done)
    return done


def other():
    """Another batch in process 1."""
    return bilevel.batch(jnp.sin)(jnp.arange(3.0) + jax.process_index())


def bits(tree) -> str:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, jax.Array):
            key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            digest.update(np.asarray(jax.random.key_data(leaf) if key else leaf).tobytes())
        digest.update(repr(getattr(leaf, "dtype", leaf)).encode())
    return digest.hexdigest()


BATCHES = {f.__name__: f for f in (many_roots, shared_slopes, attacked, other)}


def run(names, before=lambda name: None) -> dict:
    found = {}
    for name in names:
        before(name)
        found[name] = bits(BATCHES[name]())
    return found


def main(arguments) -> None:
    jax.config.update("jax_enable_x64", True)
    names, killed, file = [], None, None
    while arguments:
        word = arguments.pop(0)
        if word == "--process":
            rank, port = int(arguments.pop(0)), arguments.pop(0)
            jax.config.update("jax_cpu_collectives_implementation", "gloo")
            jax.distributed.initialize(
                f"localhost:{port}", 2, rank, heartbeat_timeout_seconds=HEARTBEAT
            )
        elif word == "--killed":
            killed = arguments.pop(0)
        elif word == "--rounds":
            file = arguments.pop(0)
        else:
            names.append(word)

    def before(name):
        if name == killed and jax.process_index() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    if file is None:
        found = run(names, before)
    else:
        kept = bilevel.Checkpoint(file).load(jnp.zeros(0))
        found = {"kept": 0 if kept is None else len(kept), "bits": bits(in_rounds(file, before))}
    print(json.dumps({"devices": jax.device_count(), **found}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
