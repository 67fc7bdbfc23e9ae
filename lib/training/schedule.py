"""How long a fit trains, and at what learning rate."""

from __future__ import annotations

from dataclasses import dataclass

WARM_UP = 50  # steps, or a sixth of a short fit
DECAY = 0.25  # of the steps before it


@dataclass
class Schedule:
    """Learning rate and length of one fit: warm up, stay, decay (Hu et al. 2024).

    The learning rate stays at its peak while the validation loss falls, so a fit is as long as
    the data asks for. Then it decays linearly to zero, which is where the last improvement comes
    from. A cosine or a one-cycle schedule would have to know the length in advance.

    Attributes:
        warm_up: steps until the peak.
        decay_start: step after which the learning rate decays.
        last_step: step at which the fit ends.

    Examples:
        >>> schedule = Schedule.up_to(1000)
        >>> [schedule.share(step) for step in (0, 49, 500, 800, 900)]
        [0.02, 1.0, 1.0, 1.0, 0.5]
        >>> schedule.begin_decay(400)
        >>> schedule.last_step
        500
    """

    warm_up: int
    decay_start: int
    last_step: int

    @classmethod
    def up_to(cls, steps: int) -> Schedule:
        """Return the longest schedule: the decay ends after `steps`."""
        return cls(min(WARM_UP, max(1, steps // 6)), int(steps / (1 + DECAY)), steps)

    def share(self, step: int) -> float:
        """Return the share of the peak learning rate, given the steps that are done."""
        left = (self.last_step - step) / (self.last_step - self.decay_start)
        return min((step + 1) / self.warm_up, left, 1.0)

    def begin_decay(self, step: int) -> None:
        """Decay from this step on, unless the decay has begun."""
        if step < self.decay_start:
            self.decay_start = step
            self.last_step = min(self.last_step, step + max(1, round(DECAY * step)))
