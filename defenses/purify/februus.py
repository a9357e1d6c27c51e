"""Februus (Doan, Abbasnejad & Ranasinghe, "Februus: input purification defense against trojan
attacks on deep neural network systems", ACSAC 2020): cut out what the network looked at, and paint
it anew.
"""

from collections.abc import Callable

from jaxtyping import Array, Float

from bilevel.learners import AbstractLearner

from ._heat import Heat, heat_map, hires_cam
from ._purifier import AbstractPurifier

Fill = Callable[[Float[Array, "n h w c"], Float[Array, "n h w 1"]], Float[Array, "n h w c"]]
"""From images and masks, 1 where pixels are missing, to whole images."""


class Februus(AbstractPurifier):
    """The model decides on images without the pixels that it looked at most: those whose heat is at
    least `threshold` are replaced by what `fill` makes of the others.

    - `learner`: a `Network` of images with a convolution, or `Fixed` of its model.
    - `fill`: an `Inpainting`, trained by `Inpainter` on clean images, or `MeanFill`.
    - `threshold`: in (0, 1], of the largest heat in the image: lower ones cut out more.
    - `heat`: `hires_cam` or, as in the paper, `grad_cam`.

    Removes triggers that the network decides by; a trigger all over the image stays. Clean images
    lose what they are recognised by, which `fill` has to make up for. Its derivative is that of the
    pixels that stay, at a fixed mask.
    """

    learner: AbstractLearner
    fill: Fill
    threshold: float = 0.7
    heat: Heat = hires_cam

    def __check_init__(self):
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold: got {self.threshold}, expected a share > 0, at most 1")

    def mask(self, model, x: Float[Array, "n h w c"]) -> Float[Array, "n h w 1"]:
        """1 where pixels are cut out."""
        hot = heat_map(model, x, self.heat) >= self.threshold
        return hot[..., None].astype(x.dtype)

    def purify(self, model, x, *, key=None):
        del key
        mask = self.mask(model, x)
        return (1 - mask) * x + mask * self.fill((1 - mask) * x, mask)
