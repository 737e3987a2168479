"""Domains that no source resembles and that label more than 19 classes: mini-BDD, -Vistas, -IDD.

They are targets of domain generalization (their 19 trainIds) and of taxonomy alignment (their own
ids). ``web_details`` is the web-like domain with all finer classes, from which the miniature CLIP
of taxonomy alignment learns their names. Frames of other domains do not depend on this module.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mmseg_uda.miniworld.detail_classes import Detail, coarse_table, detailed_style
from mmseg_uda.miniworld.detail_scene import Furniture
from mmseg_uda.miniworld.domains import WEB_LAYOUT, Details, Domain
from mmseg_uda.miniworld.layout import Layout, Plan
from mmseg_uda.miniworld.style import Style, blend, random_style, recolour
from mmseg_uda.miniworld.web_shapes import draw_curiosities

DETAIL_MODULES = (
    "detail_classes.py",
    "detail_scene.py",
    "detail_shapes.py",
    "unseen.py",
    "unseen_formats.py",
)
WEB_DETAILS = "web_details"

# The two numbers of a size are factors on width and height of the world's images (2:1).
_WIDE = (0.9375, 1.0625)  # 16:9
_PHOTO = (0.75, 1.125)  # 4:3
_PORTRAIT = (0.53125, 1.3125)  # 17:21


def _named_ground(layout: Layout) -> Layout:
    """The layout with classes for what is painted on the ground."""
    return replace(
        layout,
        marking=Detail.LANE_MARKING,
        crosswalk=Detail.CROSSWALK,
        curb=Detail.CURB,
        rails=Detail.RAIL_TRACK,
    )


BDD_LAYOUT = Layout(
    eye=(1.25, 1.5),
    focal=(150, 175),
    horizon=(0.4, 0.48),
    road=(3.6, 5.4),
    cars=(3, 7),
    persons=(0, 3),
    truck=0.6,
    train=0.35,
    crosswalk_chance=0.4,
)
MAPILLARY_LAYOUT = _named_ground(
    Layout(
        eye=(1.3, 2.3),
        focal=(135, 175),
        horizon=(0.35, 0.47),
        road=(2.6, 4.4),
        cars=(1, 4),
        persons=(1, 3),
        poles=(0, 2),
        crosswalk_chance=0.5,
        curb_width=0.5,
    )
)
IDD_LAYOUT = _named_ground(
    Layout(
        eye=(1.4, 1.9),
        focal=(140, 165),
        horizon=(0.37, 0.46),
        road=(2.3, 3.8),
        sidewalk=(1.2, 2.6),
        verge_chance=0.85,
        open_ground=0.75,
        cars=(1, 3),
        persons=(1, 3),
        truck=0.4,
        bus=0.4,
        train=0.1,
        motorcycle=0.7,
        bicycle=0.4,
        crosswalk_chance=0.15,
        curb_width=0.5,
    )
)

BDD_FURNITURE = Furniture(
    {
        Detail.STREET_LIGHT: 0.3,
        Detail.TRASH_CAN: 0.2,
        Detail.GUARD_RAIL: 0.15,
        Detail.BILLBOARD: 0.2,
        Detail.MANHOLE: 0.3,
    },
    draws=1,
)
MAPILLARY_FURNITURE = Furniture(
    {
        Detail.MANHOLE: 0.5,
        Detail.CATCH_BASIN: 0.35,
        Detail.GUARD_RAIL: 0.25,
        Detail.BILLBOARD: 0.35,
        Detail.BANNER: 0.25,
        Detail.BRIDGE: 0.15,
        Detail.UTILITY_POLE: 0.4,
        Detail.STREET_LIGHT: 0.5,
        Detail.SIGN_BACK: 0.3,
        Detail.TRASH_CAN: 0.5,
        Detail.BENCH: 0.45,
        Detail.PHONE_BOOTH: 0.3,
        Detail.CARAVAN: 0.3,
        Detail.TRAILER: 0.3,
    },
    motorcyclists=True,
)
IDD_FURNITURE = Furniture(
    {
        Detail.AUTORICKSHAW: 0.8,
        Detail.GUARD_RAIL: 0.3,
        Detail.BARRICADE: 0.45,
        Detail.BILLBOARD: 0.55,
        Detail.BRIDGE: 0.25,
        Detail.PARKING: 0.4,
    },
)


# Every finer class alike, in fuller scenes than any data set has.
WEB_DETAILS_LAYOUT = _named_ground(
    replace(WEB_LAYOUT, cars=(0, 2), persons=(0, 2), crosswalk_chance=0.5, curb_width=0.45)
)
_WEB_FURNITURE = Furniture(
    {
        **dict.fromkeys(
            (*MAPILLARY_FURNITURE.chances, *IDD_FURNITURE.chances),
            0.3,
        ),
        Detail.CARAVAN: 0.5,
        Detail.TRAILER: 0.5,
        Detail.AUTORICKSHAW: 0.5,
    },
    motorcyclists=True,
)


def _web_furniture(plan: Plan) -> None:
    _WEB_FURNITURE(plan)
    draw_curiosities(plan)


def _bdd(strength: float, rng: np.random.Generator) -> Style:
    """A dash camera behind glass: cold, hard, at any hour of the day."""
    base = detailed_style()
    light = np.array(((1.0, 1.0, 1.04), (0.86, 0.9, 1.0), (1.08, 0.9, 0.74), (0.62, 0.66, 0.84)))
    real = replace(
        base,
        palette=recolour(base.palette, 0.7, (0.82, 0.88, 1.0), 12, seed=31),
        jitter=np.float64(14),
        fine=base.fine * 1.1 + 1,
        coarse=base.coarse * 1.2 + 2,
        noise=np.float64(6),
        blur=np.float64(0.9),
        haze=np.float64(0.006),
        haze_colour=np.array([186.0, 198, 222]),
        light=light[rng.integers(4)],
        gradient=np.float64(0.3),
        vignette=np.float64(0.45),
        gamma=np.float64(1.15),
        contrast=np.float64(1.15),
    )
    return blend(base, real, strength)


def _mapillary(strength: float, rng: np.random.Generator) -> Style:
    """Anybody's camera: every picture looks different."""
    base = detailed_style()
    return blend(base, random_style(rng, base), strength)


def _idd(strength: float, rng: np.random.Generator) -> Style:
    """Dust and a low sun: yellowish, pale, hazy."""
    base = detailed_style()
    real = replace(
        base,
        palette=recolour(base.palette, 0.75, (1.0, 0.89, 0.72), 12, seed=33),
        jitter=np.float64(14),
        fine=base.fine * 1.3 + 2,
        coarse=base.coarse * 1.2 + 2,
        noise=np.float64(5),
        blur=np.float64(0.5),
        haze=np.float64(0.02),
        haze_colour=np.array([222.0, 204, 172]),
        light=np.array([1.04, 0.96, 0.84]),
        gradient=np.float64(0.35),
        vignette=np.float64(0.15),
        gamma=np.float64(0.9),
        contrast=np.float64(0.85),
    )
    return blend(base, real, strength)


def _details(furniture: Furniture) -> Details:
    return Details(furniture, coarse_table(), DETAIL_MODULES)


UNSEEN = {
    d.name: d
    for d in (
        Domain(
            "bdd",
            BDD_LAYOUT,
            ("train", "val"),
            _bdd,
            details=_details(BDD_FURNITURE),
            sizes=(_WIDE,),
        ),
        Domain(
            "mapillary",
            MAPILLARY_LAYOUT,
            ("training", "validation"),
            _mapillary,
            details=_details(MAPILLARY_FURNITURE),
            sizes=(_PHOTO, _PHOTO, _WIDE, _PHOTO, _PHOTO, _PORTRAIT),
        ),
        Domain(
            "idd",
            IDD_LAYOUT,
            ("train", "val"),
            _idd,
            details=_details(IDD_FURNITURE),
            sizes=(_WIDE,),
        ),
        Domain(
            WEB_DETAILS,
            WEB_DETAILS_LAYOUT,
            ("train",),
            lambda _, rng: _mapillary(0.75, rng),
            details=Details(_web_furniture, coarse_table(), (*DETAIL_MODULES, "web_shapes.py")),
        ),
    )
}
