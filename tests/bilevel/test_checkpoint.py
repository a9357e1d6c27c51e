"""Checkpoints: what comes back, what an interrupted write leaves, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bilevel
from bilevel import Checkpoint

STATE = {
    "x": jnp.arange(6, dtype=jnp.float32).reshape(3, 2),
    "half": jnp.asarray([1.5, -2.0], jnp.bfloat16),
    "key": jax.random.key(3),
    "other": jax.random.key(4, impl="rbg"),
    "rule": jnp.tanh,
    "step": jnp.int32(7),
}


@pytest.fixture
def checkpoint(tmp_path):
    return Checkpoint(tmp_path / "run.npz")


def test_a_tree_comes_back_bit_for_bit(checkpoint):
    assert checkpoint.load(STATE) is None
    checkpoint.save(STATE)
    empty = STATE | {"x": STATE["x"][:0], "half": STATE["half"][:0], "key": jax.random.key(0)}
    again = checkpoint.load(empty)
    for name in ("x", "half", "step"):
        assert again[name].dtype == STATE[name].dtype
        np.testing.assert_array_equal(again[name], STATE[name])
    for name in ("key", "other"):
        assert again[name].dtype == STATE[name].dtype
        found, wanted = (jax.random.key_data(tree[name]) for tree in (again, STATE))
        np.testing.assert_array_equal(found, wanted)
    assert again["rule"] is jnp.tanh
    checkpoint.remove()
    assert checkpoint.load(STATE) is None


def test_a_run_goes_on_from_its_file_to_the_same_bits(checkpoint):
    def hill(z):
        return -jnp.sum((z - 1) ** 4)

    z = jnp.asarray([3.0, -2.0])
    first = bilevel.maximize(hill, z, steps=5)
    checkpoint.save(first.state)
    like = jax.eval_shape(lambda: bilevel.maximize(hill, z, steps=5).state)
    state = Checkpoint(checkpoint.path).load(like)
    for of in (first.state, state):
        assert jax.tree.structure(of) == jax.tree.structure(first.state)
    again, whole = (bilevel.maximize(hill, z, steps=5, state=s) for s in (state, first.state))
    np.testing.assert_array_equal(again.z, whole.z)


def test_an_interrupted_write_leaves_the_state_before(checkpoint, monkeypatch):
    checkpoint.save(STATE)

    def killed(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(STATE | {"step": jnp.int32(8)})
    assert checkpoint.load(STATE)["step"] == 7


def test_files_of_other_runs_are_sentences(checkpoint):
    checkpoint.save(STATE)
    for name, leaf, sentence in (
        ("x", STATE["x"].astype(float), r"float32 \(3, 2\) at tree\['x'\], expected float64"),
        ("x", STATE["x"][:, :1], r"expected float32 \(3, 1\)"),
        ("half", STATE["half"][0], r"bfloat16 \(2,\) at tree\['half'\], expected bfloat16 \(\)"),
        ("step", jnp.zeros(1, jnp.int32), r"int32 \(\) at tree\['step'\], expected int32 \(1,\)"),
        ("z", jnp.zeros(1), r"only one of the two has: tree\['z'\]"),
    ):
        with pytest.raises(ValueError, match=sentence):
            checkpoint.load(STATE | {name: leaf})
    checkpoint.path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        checkpoint.load(STATE)
