"""The learning rate over a training."""

from typing import Any

import keras


class WarmupThenLinear(keras.optimizers.schedules.LearningRateSchedule):
    """Increase from 0 to `peak` over `warmup` steps, then decrease to 0 at `steps`."""

    def __init__(self, peak: float, warmup: int, steps: int) -> None:
        self.peak, self.warmup, self.steps = peak, warmup, steps

    def __call__(self, step: Any) -> Any:
        """Return the rate for a step, counted from 0."""
        step = keras.ops.cast(step, "float32")
        rising = (step + 1) / self.warmup
        falling = (self.steps - step) / max(1, self.steps - self.warmup)
        return self.peak * keras.ops.clip(keras.ops.minimum(rising, falling), 0, 1)

    def get_config(self) -> dict[str, Any]:
        """Return the three parameters."""
        return {"peak": self.peak, "warmup": self.warmup, "steps": self.steps}
