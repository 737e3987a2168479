"""What stands where: the layout statistics of a domain and one scene drawn from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mmseg_uda.miniworld.canvas import Camera, Ids
from mmseg_uda.miniworld.shapes import Brush, ground
from mmseg_uda.miniworld.street import (
    draw_building,
    draw_bush,
    draw_far_end,
    draw_fence,
    draw_hedge,
    draw_person,
    draw_pole,
    draw_sign,
    draw_traffic_light,
    draw_tree,
    draw_wall,
)
from mmseg_uda.miniworld.vehicles import (
    draw_articulated_bus,
    draw_bus,
    draw_car,
    draw_rails,
    draw_train,
    draw_truck,
    draw_two_wheeler,
    draw_van,
)

Range = tuple[float, float]
_FAR = 110.0


@dataclass(frozen=True)
class Layout:
    """Statistics of a domain's scenes; lengths in metres, chances per scene.

    Attributes:
        eye: Range of the camera height.
        focal: Range of the focal length in pixels of a 256 pixels wide image.
        horizon: Range of the horizon row as a share of the image height.
        road: Range of the half road width.
        sidewalk: Range of the sidewalk width.
        verge: Range of the width of a grass strip.
        verge_chance: Chance of a grass strip, per side.
        paved: Chance of a sidewalk between the road and a grass strip.
        open_ground: Chance that grass covers the ground beyond, where no strip is.
        backdrop: Shares of buildings, walls, fences and hedges along the street.
        cars, persons, trees, poles: Ranges of counts.
        truck, bus, train, motorcycle, bicycle, sign, light: Spawn chances.
        van: Chance of a van, which is a car; drawn twice.
        articulated: Share of the buses that have two sections.
        cover: Class of the grass.
        crosswalk_chance: Chance of a crosswalk.
        curb_width: Width of the curb.
        marking, crosswalk, curb, rails: Classes of what is painted on the ground; None leaves it
            to the ground below.
    """

    eye: Range
    focal: Range
    horizon: Range
    road: Range
    sidewalk: Range = (2.0, 4.2)
    verge: Range = (3.0, 9.0)
    verge_chance: float = 0.75
    paved: float = 0.45
    open_ground: float = 0.5
    backdrop: tuple[float, float, float, float] = (0.34, 0.23, 0.23, 0.2)
    cars: Range = (2, 6)
    persons: Range = (1, 4)
    trees: Range = (1, 5)
    poles: Range = (1, 4)
    truck: float = 0.55
    bus: float = 0.5
    train: float = 0.5
    motorcycle: float = 0.7
    bicycle: float = 0.7
    sign: float = 0.8
    light: float = 0.7
    van: float = 0.0
    articulated: float = 0.0
    cover: Ids = Ids.TERRAIN
    crosswalk_chance: float = 0.25
    curb_width: float = 0.25
    marking: int | None = None
    crosswalk: int | None = None
    curb: int | None = None
    rails: int | None = None

    def camera(self, rng: np.random.Generator, width: int, height: int) -> Camera:
        """One camera from the domain's range."""
        focal = rng.uniform(*self.focal) * width / 256
        horizon = rng.uniform(*self.horizon) * height
        return Camera(width, height, focal, horizon, rng.uniform(*self.eye))


@dataclass
class Plan:
    """The ground of one scene, and what of it is taken.

    Attributes:
        brush: Canvas, colours and random stream of the scene.
        road: Half the width of the road in metres.
        offset: X of its middle.
        crossing: Z of a railway that crosses the road, or None.
        sides: |X| relative to the road's middle of sidewalk edge, verge edge and backdrop, left
            and right.
        taken: Footprints (x, z, half width, half depth) of what stands there.
    """

    brush: Brush
    road: float
    offset: float
    crossing: float | None = None
    sides: tuple[tuple[float, float, float], ...] = ()
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def place(
        self, x: Callable[[], float], z: Callable[[], float], half_x: float, half_z: float
    ) -> tuple[float, float] | None:
        """A spot whose footprint meets nothing placed before, or None after eight tries."""
        for _ in range(8):
            u, v = x(), z()
            if all(abs(u - a) > half_x + p or abs(v - b) > half_z + q for a, b, p, q in self.taken):
                self.taken.append((u, v, half_x, half_z))
                return u, v
        return None


def draw_scene(brush: Brush, layout: Layout) -> Plan:
    """Draws ground, borders and objects of one random scene; returns where they are."""
    rng = brush.rng
    plan = Plan(brush, rng.uniform(*layout.road), rng.uniform(-1.0, 1.0))
    train = brush.chance(layout.train)
    if train and brush.chance(0.4):
        plan.crossing = brush.uniform(10, 19)
    _draw_ground(plan, layout)
    plan.sides = tuple(_draw_side(plan, layout, side) for side in (-1, 1))
    count = 16
    classes = rng.choice([Ids.BUILDING, Ids.VEGETATION], count, p=[0.6, 0.4])
    draw_far_end(brush, _FAR, classes, rng.uniform(6, 22, count))
    if train:
        _place_train(plan, layout)
    _place_large(plan, layout)
    _place_small(plan, layout)
    _place_furniture(plan, layout)
    return plan


def _draw_ground(plan: Plan, layout: Layout) -> None:
    brush, canvas = plan.brush, plan.brush.canvas
    covered = brush.chance(layout.open_ground)
    base, look = (layout.cover, Ids.TERRAIN) if covered else (Ids.SIDEWALK, Ids.SIDEWALK)
    canvas.paint([ground(-200, 200, 0.5, 400)], base, brush.colour(look))
    left, right = plan.offset - plan.road, plan.offset + plan.road
    canvas.paint([ground(left, right, 0.5, 400)], Ids.ROAD, brush.colour(Ids.ROAD))
    paint, tone = np.array([226.0, 226, 220]), 0.75
    first = brush.uniform(1, 5)
    dashes = [
        ground(plan.offset - 0.09, plan.offset + 0.09, z, z + 2.2)
        for z in np.arange(first, 60, 5.5)
    ]
    canvas.paint(dashes, layout.marking, paint, tone)
    if brush.chance(0.6):
        lines = [ground(x - 0.07, x + 0.07, 0.5, 120) for x in (left + 0.4, right - 0.4)]
        canvas.paint(lines, layout.marking, paint, tone)
    if brush.chance(layout.crosswalk_chance):
        z = brush.uniform(6, 16)
        bars = [ground(x, x + 0.55, z, z + 2.6) for x in np.arange(left + 0.3, right - 0.5, 1.1)]
        canvas.paint(bars, layout.crosswalk, paint, tone)
    if plan.crossing is not None:
        z, width = plan.crossing, 3.0
        canvas.paint([ground(-200, 200, z - width, z + width)], Ids.ROAD, brush.colour(Ids.ROAD))
        draw_rails(brush, 0, z, z, False, np.array([120.0, 108, 98]), layout.rails)


def _draw_side(plan: Plan, layout: Layout, side: int) -> tuple[float, float, float]:
    """Ground strips and backdrop of one side.

    Returns:
        |X| relative to the road's centre of sidewalk edge, verge edge and backdrop.
    """
    brush, canvas = plan.brush, plan.brush.canvas

    def strip(near: float, far: float, class_id: int | None, colour: np.ndarray) -> None:
        x0, x1 = sorted((plan.offset + side * near, plan.offset + side * far))
        spans = [(0.5, 400.0)]
        if plan.crossing is not None:
            spans = [(0.5, plan.crossing - 3), (plan.crossing + 3, 400)]
        canvas.paint([ground(x0, x1, *s) for s in spans], class_id, colour)

    edge = plan.road
    grass = brush.chance(layout.verge_chance)
    paved = brush.chance(layout.paved if grass else 0.95)
    walk = edge + (brush.uniform(*layout.sidewalk) if paved else 0.25)
    strip(edge, walk, Ids.SIDEWALK, brush.colour(Ids.SIDEWALK))
    strip(edge, edge + layout.curb_width, layout.curb, np.array([188.0, 186, 182]))
    verge = walk
    if grass:
        verge = walk + brush.uniform(*layout.verge)
        strip(walk, verge, layout.cover, brush.colour(Ids.TERRAIN))
    back = verge + brush.uniform(0.2, 1.0)
    painters = (draw_building, draw_wall, draw_fence, draw_hedge)
    theme = painters[brush.rng.choice(4, p=layout.backdrop)]
    z = brush.uniform(-4, 3)
    while z < _FAR - 8:
        length = brush.uniform(6, 16) * (1 if z < 40 else 2)
        clear = plan.crossing is None or z > plan.crossing + 4 or z + length < plan.crossing - 4
        if clear and z + length > 2 and not brush.chance(0.1):
            other = painters[brush.rng.choice(4, p=layout.backdrop)]
            draw = theme if brush.chance(0.6) else other
            shift = side * plan.offset
            draw(brush, side, back + shift, max(z, -6.0), z + length - 0.3)
        z += length
    return walk, verge, back


def _place_train(plan: Plan, layout: Layout) -> None:
    brush = plan.brush
    if plan.crossing is not None:
        x = brush.uniform(-9, 9)
        draw_train(brush, x, plan.crossing, np.pi / 2, cars=3)
        plan.taken.append((x, plan.crossing, 40, 3.2))
        return
    side = 1 if brush.chance(0.5) else -1
    x = plan.offset + side * (plan.road - 0.8)
    near = brush.uniform(5, 12)
    draw_rails(brush, x, 0.5, 150, True, np.array([120.0, 108, 98]), layout.rails)
    draw_train(brush, x, near + 17, 0.0 if brush.chance(0.5) else np.pi, cars=3)
    plan.taken.append((x, near + 17, 2.0, 19))
    plan.taken.append((x, 0, 1.6, near))


def _place_large(plan: Plan, layout: Layout) -> None:
    """Trucks, buses and cars, along the road, parked, or crossing it."""
    brush = plan.brush
    jobs: list[tuple[Callable[[Brush, float, float, float], None], float, Range]] = []
    if brush.chance(layout.truck):
        jobs.append((draw_truck, 5.0, (6.5, 15)))
    if brush.chance(layout.bus):
        if layout.articulated and brush.chance(layout.articulated):
            jobs.append((draw_articulated_bus, 9.5, (6.0, 12)))
        else:
            jobs.append((draw_bus, 6.0, (6.5, 15)))
    if layout.van:
        for _ in range(2):
            if brush.chance(layout.van):
                jobs.append((draw_van, 4.2, (5.5, 14)))
    for _ in range(int(brush.rng.integers(int(layout.cars[0]), int(layout.cars[1]) + 1))):
        jobs.append((draw_car, 2.4, (5.5, 26)))
    for painter, half, reach in jobs:
        across = brush.chance(0.3)
        yaw = float(brush.rng.normal(0, 0.12)) + (np.pi if brush.chance(0.5) else 0.0)
        yaw += np.pi / 2 if across else 0.0
        half_x, half_z = (half, 1.5) if across else (1.5, half)
        limit = max(plan.road - 1.1, 0.5)

        def lane(limit: float = limit, across: bool = across) -> float:
            spread = limit * (1.5 if across else 1.0)
            return plan.offset + brush.uniform(-spread, spread)

        def far(reach: Range = reach, half_z: float = half_z) -> float:
            return float(np.exp(brush.uniform(np.log(reach[0]), np.log(reach[1])))) + half_z - 2

        spot = plan.place(lane, far, half_x, half_z)
        if spot is not None:
            painter(brush, *spot, yaw)


def _place_small(plan: Plan, layout: Layout) -> None:
    """Persons and two-wheelers, mostly on the sidewalks."""
    brush = plan.brush

    def walk() -> float:
        side = 1 if brush.chance(0.5) else -1
        return plan.offset + side * (plan.road + brush.uniform(-1.0, 2.2))

    for _ in range(int(brush.rng.integers(int(layout.persons[0]), int(layout.persons[1]) + 1))):
        spot = plan.place(walk, lambda: brush.uniform(3.6, 9.5), 0.5, 0.4)
        if spot is not None:
            draw_person(brush, *spot)
    for motor, chance in ((True, layout.motorcycle), (False, layout.bicycle)):
        for _ in range(2):
            if not brush.chance(chance):
                continue
            spot = plan.place(walk, lambda: brush.uniform(3.6, 7.5), 0.9, 0.4)
            if spot is not None:
                facing = brush.uniform(0.5, 1) * (1 if brush.chance(0.5) else -1)
                draw_two_wheeler(brush, *spot, motor, brush.chance(0.6), facing)


def _place_furniture(plan: Plan, layout: Layout) -> None:
    """Poles, signs, lights, trees and bushes along both sides."""
    brush = plan.brush

    def curb() -> tuple[int, float]:
        side = 1 if brush.chance(0.5) else -1
        return side, plan.offset + side * (plan.road + brush.uniform(0.4, 1.4))

    for _ in range(int(brush.rng.integers(int(layout.poles[0]), int(layout.poles[1]) + 1))):
        side, x = curb()
        arm = -side * brush.uniform(1, 2.5) if brush.chance(0.4) else 0.0
        draw_pole(brush, x, brush.uniform(4, 18), brush.uniform(4.5, 8), arm)
    for _ in range(2):
        if brush.chance(layout.sign):
            draw_sign(brush, curb()[1], brush.uniform(4.5, 13), brush.uniform(2.3, 3.4))
        if brush.chance(layout.light):
            side, x = curb()
            arm = -side * brush.uniform(1.5, 3.5) if brush.chance(0.4) else 0.0
            height = brush.uniform(4.4, 5.2) if arm else brush.uniform(3.2, 4.2)
            draw_traffic_light(brush, x, brush.uniform(5.5, 14), height, arm)
    for _ in range(int(brush.rng.integers(int(layout.trees[0]), int(layout.trees[1]) + 1))):
        index = int(brush.rng.integers(2))
        walk, verge, back = plan.sides[index]
        x = brush.uniform(walk, verge) if verge > walk else brush.uniform(walk - 0.6, back)
        x = plan.offset + (1 if index else -1) * x
        painter = draw_tree if brush.chance(0.85) else draw_bush
        painter(brush, x, brush.uniform(5.5, 22), brush.uniform(0.8, 1.4))
