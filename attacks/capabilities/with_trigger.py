"""Changes of training rows by another capability, and a fixed trigger on the rows shown."""

from jaxtyping import PyTree

from bilevel import Data

from ..triggers import AbstractTrigger
from ._capability import AbstractCapability


class WithTrigger(AbstractCapability):
    """z is that of `reach`, and rows shown to the trained model have the trigger: for backdoors
    whose training rows do not show it (Hidden Trigger, Saha et al., AAAI 2020; Sleeper Agent,
    Souri et al., NeurIPS 2022).

    - `reach`: a capability that changes training rows, for example `Perturb` within a ball.
    - `trigger`: with its own pattern, which is not optimised.
    """

    reach: AbstractCapability
    trigger: AbstractTrigger

    @property
    def keeps_rows(self) -> bool:
        return self.reach.keeps_rows

    def check(self, data: Data) -> None:
        self.reach.check(data)
        self.trigger.check(data.x.shape[1:])

    def shapes(self, data):
        return self.reach.shapes(data)

    def example(self, data: Data) -> PyTree:
        """That of `reach`."""
        return self.reach.example(data)

    def inject(self, z, data):
        return self.reach.inject(z, data)

    def present(self, z, x, *, key=None):
        x = self.reach.present(z, x, key=key)
        return self.trigger.apply(self.trigger.like(x.dtype), x)

    def project(self, z):
        return self.reach.project(z)

    def places(self, data):
        return self.reach.places(data)

    def units(self, z):
        return self.reach.units(z)

    def scale(self, z, data):
        return self.reach.scale(z, data)

    def direction(self, gradient):
        return self.reach.direction(gradient)
