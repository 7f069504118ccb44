"""Losses from a log that may be damaged, resumed or long."""

import math

from hypothesis import given
from hypothesis import strategies as st

from foveal.evaluation.loss_curves import HEIGHT, WIDTH, loss_curves


def event(stage, step, loss):
    return {"event": "figures", "stage": stage, "step": step, "loss": loss}


def test_a_training_that_was_resumed_is_one_curve():
    log = [event("a", 1, 3.0), event("a", 2, 2.0), event("a", 3, 9.0), event("a", 2, 2.5), event("a", 3, 1.0)]
    (curve,) = loss_curves([*log, {"event": "say", "text": "x"}, event("b", 1, 1.0), event("a", "x", None), {}])
    assert (curve.stage, curve.steps, curve.first, curve.last) == ("a", 3, 3.0, 1.0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2000))
def test_every_point_is_inside_the_plot(losses):
    (curve,) = loss_curves([event("a", i + 1, loss) for i, loss in enumerate(losses)])
    points = [tuple(map(float, p.split())) for p in curve.path[1:].split("L")]
    assert len(points) < 700 and all(0 <= x <= WIDTH and -0.1 <= y <= HEIGHT + 0.1 for x, y in points)
    assert math.isclose(points[-1][0], WIDTH)
