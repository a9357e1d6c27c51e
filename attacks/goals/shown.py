"""The mean loss on rows as the attacker presents them, for evasion and backdoors."""

from jaxtyping import Array, Float, Shaped

from bilevel import Data

from ._rows import AbstractRowGoal, Loss


class Shown(AbstractRowGoal):
    """Mean loss over rows as the capability presents them to the trained model: perturbed
    (evasion), or stamped with a trigger (backdoors).
    """

    x: Float[Array, "n ..."]
    y: Shaped[Array, " n"]
    weight: Float[Array, " n"]
    loss: Loss

    def rows(self, world, key):
        return world.shown(self.x, key=key)


def shown(x, y, loss: Loss) -> Shown:
    """Raise the mean `loss(y, f)` of rows x (n, ...) as presented, with labels y (n,).

    Raises `ValueError` as `Data` does.
    """
    data = Data(x, y)
    return Shown(data.x, data.y, data.weight, loss)
