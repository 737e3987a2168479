"""Where the finer classes stand in a scene."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from mmseg_uda.miniworld.canvas import Ids
from mmseg_uda.miniworld.detail_classes import Detail
from mmseg_uda.miniworld.detail_shapes import (
    draw_autorickshaw,
    draw_banner,
    draw_barricade,
    draw_bench,
    draw_billboard,
    draw_bridge,
    draw_caravan,
    draw_catch_basin,
    draw_guard_rail,
    draw_manhole,
    draw_parking,
    draw_phone_booth,
    draw_sign_back,
    draw_street_light,
    draw_trailer,
    draw_trash_can,
    draw_utility_pole,
)
from mmseg_uda.miniworld.layout import Plan
from mmseg_uda.miniworld.shapes import Brush

Range = tuple[float, float]
Stand = Callable[[Brush, float, float], None]
Drive = Callable[[Brush, float, float, float], None]

# What stands on the sidewalk: its painter, half its width, its range of distances.
_STANDING: dict[Detail, tuple[Stand, float, Range]] = {
    Detail.TRASH_CAN: (draw_trash_can, 0.7, (3.4, 8.0)),
    Detail.BENCH: (draw_bench, 1.3, (3.8, 9.0)),
    Detail.PHONE_BOOTH: (draw_phone_booth, 0.8, (4.5, 10.0)),
    Detail.BARRICADE: (draw_barricade, 1.7, (4.5, 10.0)),
    Detail.UTILITY_POLE: (draw_utility_pole, 0.6, (4.5, 13.0)),
    Detail.SIGN_BACK: (draw_sign_back, 0.7, (4.5, 11.0)),
    Detail.BANNER: (draw_banner, 1.3, (4.5, 11.0)),
    Detail.BILLBOARD: (draw_billboard, 2.6, (7.0, 15.0)),
}
# The same for what stands on the road; half its length.
_VEHICLES: dict[Detail, tuple[Drive, float, Range]] = {
    Detail.CARAVAN: (draw_caravan, 3.0, (6.0, 15.0)),
    Detail.TRAILER: (draw_trailer, 2.2, (5.0, 13.0)),
    Detail.AUTORICKSHAW: (draw_autorickshaw, 1.7, (4.8, 13.0)),
}
# Beyond the sidewalk's edge, where a panel hides little of the street.
_SET_BACK = {Detail.BILLBOARD, Detail.PHONE_BOOTH}


@dataclass(frozen=True)
class Furniture:
    """Chances of the finer classes, per scene.

    Attributes:
        chances: Chance of a thing; each is drawn ``draws`` times.
        draws: Draws per class.
        motorcyclists: Whether the riders of motorcycles are a class of their own.
    """

    chances: Mapping[Detail, float] = field(default_factory=dict)
    draws: int = 2
    motorcyclists: bool = False

    def __call__(self, plan: Plan) -> None:
        """Draws the furniture into a scene; depth decides what hides what."""
        brush = plan.brush
        _surface(plan, self)
        for id_, (vehicle, half, reach) in _VEHICLES.items():
            for _ in range(self.draws):
                if brush.chance(self.chances.get(id_, 0.0)):
                    _drive(plan, vehicle, half, reach)
        for id_, (thing, half, reach) in _STANDING.items():
            for _ in range(self.draws):
                if brush.chance(self.chances.get(id_, 0.0)):
                    _stand(plan, id_, thing, half, reach)
        for _ in range(self.draws):
            if brush.chance(self.chances.get(Detail.STREET_LIGHT, 0.0)):
                side = 1 if brush.chance(0.5) else -1
                x = plan.offset + side * (plan.road + brush.uniform(0.5, 1.3))
                draw_street_light(brush, x, brush.uniform(5.0, 12), -side)
        if brush.chance(self.chances.get(Detail.BRIDGE, 0.0)):
            left, right = plan.offset - plan.sides[0][0], plan.offset + plan.sides[1][0]
            draw_bridge(brush, brush.uniform(13, 26), 1.2, left - 0.4, right + 0.4)
        if self.motorcyclists:
            _name_motorcyclists(plan)


def _surface(plan: Plan, furniture: Furniture) -> None:
    """Covers, grates, strips and rails that lie on the ground or stand along it."""
    brush, chances = plan.brush, furniture.chances
    left, right = plan.offset - plan.road, plan.offset + plan.road
    for id_, draw, reach in (
        (Detail.MANHOLE, draw_manhole, (3.6, 8.0)),
        (Detail.CATCH_BASIN, draw_catch_basin, (3.6, 7.5)),
    ):
        for _ in range(furniture.draws):
            if not brush.chance(chances.get(id_, 0.0)):
                continue
            z = brush.uniform(*reach)
            x = brush.uniform(left + 1, right - 1)
            if id_ == Detail.CATCH_BASIN:
                x = left + 0.65 if brush.chance(0.5) else right - 0.65
            if plan.crossing is None or abs(z - plan.crossing) > 4:
                draw(brush, x, z)
    for side in (-1, 1):
        edge = plan.offset + side * plan.road
        if brush.chance(chances.get(Detail.PARKING, 0.0)):
            near, far = sorted((edge + side * 0.05, edge + side * brush.uniform(1.6, 2.6)))
            start = brush.uniform(1.5, 7)
            draw_parking(brush, near, far, start, start + brush.uniform(9, 22))
        if brush.chance(chances.get(Detail.GUARD_RAIL, 0.0)) and plan.crossing is None:
            start = brush.uniform(2.5, 6)
            draw_guard_rail(brush, edge + side * 0.5, start, start + brush.uniform(8, 20))


def _stand(plan: Plan, id_: Detail, draw: Stand, half: float, reach: Range) -> None:
    brush = plan.brush
    near, far = (1.6, 3.4) if id_ in _SET_BACK else (0.5, 1.9)

    def across() -> float:
        side = 1 if brush.chance(0.5) else -1
        return plan.offset + side * (plan.road + brush.uniform(near, far))

    spot = plan.place(across, lambda: brush.uniform(*reach), half, 0.5)
    if spot is not None:
        draw(brush, *spot)


def _drive(plan: Plan, draw: Drive, half: float, reach: Range) -> None:
    brush = plan.brush
    across = brush.chance(0.3)
    yaw = float(brush.rng.normal(0, 0.15)) + (np.pi if brush.chance(0.5) else 0.0)
    yaw += np.pi / 2 if across else 0.0
    half_x, half_z = (half, 1.2) if across else (1.2, half)
    limit = max(plan.road - 0.9, 0.5) * (1.4 if across else 1.0)
    spot = plan.place(
        lambda: plan.offset + brush.uniform(-limit, limit),
        lambda: brush.uniform(*reach) + half_z - 1,
        half_x,
        half_z,
    )
    if spot is not None:
        draw(brush, *spot, yaw)


def _name_motorcyclists(plan: Plan) -> None:
    """Riders whose instance holds a motorcycle are motorcyclists."""
    canvas = plan.brush.canvas
    motor = np.unique(canvas.instance[canvas.label == Ids.MOTORCYCLE])
    riders = (canvas.label == Ids.RIDER) & np.isin(canvas.instance, motor[motor > 0])
    canvas.label[riders] = Detail.MOTORCYCLIST
