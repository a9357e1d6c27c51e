"""Heat maps: where in an image a network saw what it decided on."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.extend.core import Literal
from jaxtyping import Array, Float

from bilevel.learners import AbstractModel, NetworkModel
from bilevel.networks import Outputs
from bilevel.tools import program

Heat = Callable[[Float[Array, "n h w f"], Float[Array, "n h w f"]], Float[Array, "n h w"]]
"""From the outputs of a layer and their derivatives to what each place speaks for the class."""


def grad_cam(
    seen: Float[Array, "n h w f"], slope: Float[Array, "n h w f"]
) -> Float[Array, "n h w"]:
    """Channels weighted by their mean derivative (Selvaraju et al., ICCV 2017): right for networks
    that end in a mean over places. One whose dense layers see each place apart may decide by a
    place that this map does not show.
    """
    return jnp.sum(jnp.mean(slope, axis=(1, 2), keepdims=True) * seen, axis=3)


def hires_cam(
    seen: Float[Array, "n h w f"], slope: Float[Array, "n h w f"]
) -> Float[Array, "n h w"]:
    """Channels weighted by their derivative at each place (HiResCAM, Draelos & Carin 2020). The
    same as `grad_cam` for networks that end in a mean over places.
    """
    return jnp.sum(slope * seen, axis=3)


@program
def heat_map(model: AbstractModel, x: Float[Array, "n h w c"], heat: Heat) -> Float[Array, "n h w"]:
    """The heat of the predicted class at each pixel, from the last layer whose outputs are images,
    interpolated linearly. In [0, 1]: what speaks against the class is 0, the most is 1.

    Raises `ValueError` for a model without such a layer.
    """
    network, layer = _last_images(model, x)
    apply = jax.tree_util.Partial(network.architecture.apply, network.parameters)
    outputs = apply(x)
    seen, f = outputs.activations[layer], _columns(outputs.logits)
    chosen = jax.nn.one_hot(jnp.argmax(f, axis=1), f.shape[1], dtype=f.dtype)

    def score(move):
        return jnp.sum(chosen * _columns(_shifted(apply, layer, x, move)))

    found = jnp.maximum(heat(seen, jax.grad(score)(jnp.zeros_like(seen))), 0)
    found = jax.image.resize(found, x.shape[:3], "linear")
    most = jnp.max(found, axis=(1, 2), keepdims=True)
    return found / jnp.where(most > 0, most, 1)


def _columns(f: Array) -> Float[Array, "n k"]:
    """A column per class, also of a network with one output."""
    return f if f.ndim == 2 else jnp.stack([-f, f], axis=1)


def _last_images(model: AbstractModel, x: Array) -> tuple[NetworkModel, str]:
    """The model, a network, and the name of its last layer whose outputs are images."""
    if isinstance(model, NetworkModel) and x.ndim == 4:
        shapes = jax.eval_shape(model.architecture.apply, model.parameters, x).activations
        images = [name for name, shape in shapes.items() if len(shape.shape) == 4]
        if images:
            return model, images[-1]
    raise ValueError(
        f"model: got a {type(model).__name__} for rows of shape {x.shape[1:]}, expected a network "
        "of images (learners.Network) that reports the outputs of a convolution"
    )


def _shifted(apply: Callable[[Array], Outputs], layer: str, x: Array, move: Array) -> Array:
    """The logits when `move` is added to the outputs of a layer: an architecture has no way to
    begin at one, so its program is followed, operation by operation.
    """
    closed, shape = jax.make_jaxpr(apply, return_shape=True)(x)
    jaxpr = closed.jaxpr
    outputs = jax.tree.unflatten(jax.tree.structure(shape), jaxpr.outvars)
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*closed.consts, x), strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    behind = set()
    for equation in jaxpr.eqns:
        primitive, inputs = equation.primitive, [read(atom) for atom in equation.invars]
        out = primitive.bind(*inputs, **primitive.get_bind_params(equation.params))
        out = out if primitive.multiple_results else [out]
        values.update(zip(equation.outvars, out, strict=True))
        if any(atom in behind for atom in equation.invars if not isinstance(atom, Literal)):
            behind.update(equation.outvars)
        if outputs.activations[layer] in equation.outvars:
            values[outputs.activations[layer]] += move
            behind.add(outputs.activations[layer])
    if outputs.logits not in behind:
        raise ValueError(
            f"model: its logits do not depend on what it reports as the outputs of {layer!r}; "
            "report these outputs as the next layer gets them, and without a jit around `apply`"
        )
    return read(outputs.logits)
