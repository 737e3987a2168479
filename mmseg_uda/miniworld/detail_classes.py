"""Classes finer than the 19: their ids in the miniature world and in Vistas' and IDD's labels."""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mmseg_uda.miniworld.canvas import VOID, Array, Ids
from mmseg_uda.miniworld.style import Style, neutral_style
from mmseg_uda.taxonomy import load_taxonomy

TABLE = 64  # ids below this have a colour


class Detail(IntEnum):
    """Ids that the canvas holds beside those of the 19 classes."""

    LANE_MARKING = 32
    CROSSWALK = 33
    CURB = 34
    MANHOLE = 35
    CATCH_BASIN = 36
    RAIL_TRACK = 37
    GUARD_RAIL = 38
    BARRICADE = 39
    BILLBOARD = 40
    BANNER = 41
    BRIDGE = 42
    UTILITY_POLE = 43
    STREET_LIGHT = 44
    SIGN_BACK = 45
    TRASH_CAN = 46
    BENCH = 47
    PHONE_BOOTH = 48
    MOTORCYCLIST = 49
    CARAVAN = 50
    TRAILER = 51
    AUTORICKSHAW = 52
    PARKING = 53
    # What only the web-like domain shows, since names of it compete with those above.
    SNOW = 54
    SAND = 55
    WATER = 56
    POTHOLE = 57
    MOUNTAIN = 58
    TUNNEL = 59
    SIGN_FRAME = 60
    BOAT = 61
    PEDESTRIAN_AREA = 62


# (the one of the 19 classes or None, Vistas v1.2 id, IDD level-3 id). The 19 classes follow the
# published map from Vistas: what it ignores there is ignored in the trainIds here.
_IDS: dict[int, tuple[int | None, int, int]] = {
    Ids.ROAD: (Ids.ROAD, 13, 0),
    Ids.SIDEWALK: (Ids.SIDEWALK, 15, 2),
    Ids.BUILDING: (Ids.BUILDING, 17, 22),
    Ids.WALL: (Ids.WALL, 6, 14),
    Ids.FENCE: (Ids.FENCE, 3, 15),
    Ids.POLE: (Ids.POLE, 45, 20),
    Ids.LIGHT: (Ids.LIGHT, 48, 19),
    Ids.SIGN: (Ids.SIGN, 50, 18),
    Ids.VEGETATION: (Ids.VEGETATION, 30, 24),
    Ids.TERRAIN: (Ids.TERRAIN, 29, 3),
    Ids.SKY: (Ids.SKY, 27, 25),
    Ids.PERSON: (Ids.PERSON, 19, 4),
    Ids.RIDER: (Ids.RIDER, 20, 5),
    Ids.CAR: (Ids.CAR, 55, 9),
    Ids.TRUCK: (Ids.TRUCK, 61, 10),
    Ids.BUS: (Ids.BUS, 54, 11),
    Ids.TRAIN: (Ids.TRAIN, 58, 12),
    Ids.MOTORCYCLE: (Ids.MOTORCYCLE, 57, 6),
    Ids.BICYCLE: (Ids.BICYCLE, 52, 7),
    Detail.LANE_MARKING: (Ids.ROAD, 24, 0),
    Detail.CROSSWALK: (None, 23, 0),
    Detail.CURB: (Ids.SIDEWALK, 2, 13),
    Detail.MANHOLE: (Ids.ROAD, 41, 0),
    Detail.CATCH_BASIN: (None, 36, 0),
    Detail.RAIL_TRACK: (None, 12, 3),
    Detail.GUARD_RAIL: (None, 4, 16),
    Detail.BARRICADE: (None, 5, 21),
    Detail.BILLBOARD: (None, 35, 17),
    Detail.BANNER: (None, 32, 17),
    Detail.BRIDGE: (None, 16, 23),
    Detail.UTILITY_POLE: (Ids.POLE, 47, 20),
    Detail.STREET_LIGHT: (None, 44, 20),
    Detail.SIGN_BACK: (None, 49, 18),
    Detail.TRASH_CAN: (None, 51, 21),
    Detail.BENCH: (None, 33, 21),
    Detail.PHONE_BOOTH: (None, 42, 21),
    Detail.MOTORCYCLIST: (Ids.RIDER, 21, 5),
    Detail.CARAVAN: (None, 56, 12),
    Detail.TRAILER: (None, 60, 12),
    Detail.AUTORICKSHAW: (None, 59, 8),
    Detail.PARKING: (None, 10, 1),
    Detail.SNOW: (None, 28, 3),
    Detail.SAND: (None, 26, 3),
    Detail.WATER: (None, 31, 3),
    Detail.POTHOLE: (None, 43, 0),
    Detail.MOUNTAIN: (None, 25, 25),
    Detail.TUNNEL: (None, 18, 23),
    Detail.SIGN_FRAME: (None, 46, 21),
    Detail.BOAT: (None, 53, 12),
    Detail.PEDESTRIAN_AREA: (None, 11, 3),
}

# Four RGB colours per class, as for the 19 classes.
_COLOURS: dict[Detail, tuple[tuple[int, int, int], ...]] = {
    Detail.LANE_MARKING: ((226, 226, 220), (222, 222, 214), (230, 228, 216), (218, 220, 220)),
    Detail.CROSSWALK: ((226, 226, 220), (222, 222, 214), (230, 228, 216), (218, 220, 220)),
    Detail.CURB: ((206, 204, 198), (198, 198, 200), (212, 206, 192), (190, 192, 196)),
    Detail.MANHOLE: ((54, 50, 48), (62, 58, 54), (48, 48, 52), (70, 60, 50)),
    Detail.CATCH_BASIN: ((44, 46, 50), (52, 52, 54), (40, 42, 48), (58, 54, 50)),
    Detail.RAIL_TRACK: ((120, 108, 98), (112, 104, 98), (128, 112, 96), (110, 100, 92)),
    Detail.GUARD_RAIL: ((176, 182, 188), (164, 170, 180), (188, 190, 190), (170, 176, 176)),
    Detail.BARRICADE: ((240, 110, 30), (236, 126, 40), (244, 96, 36), (232, 140, 30)),
    Detail.BILLBOARD: ((210, 60, 120), (70, 60, 190), (30, 150, 140), (230, 120, 40)),
    Detail.BANNER: ((190, 40, 110), (110, 40, 170), (220, 90, 60), (40, 90, 190)),
    Detail.BRIDGE: ((150, 146, 138), (138, 136, 134), (158, 150, 138), (130, 132, 138)),
    Detail.UTILITY_POLE: ((104, 72, 44), (92, 66, 44), (116, 82, 52), (84, 62, 46)),
    Detail.STREET_LIGHT: ((226, 228, 216), (214, 218, 222), (236, 232, 206), (206, 210, 210)),
    Detail.SIGN_BACK: ((142, 144, 148), (130, 134, 138), (152, 152, 150), (124, 126, 134)),
    Detail.TRASH_CAN: ((40, 92, 66), (52, 74, 98), (70, 74, 72), (60, 104, 58)),
    Detail.BENCH: ((136, 88, 48), (122, 82, 50), (150, 98, 54), (112, 78, 54)),
    Detail.PHONE_BOOTH: ((200, 36, 36), (186, 44, 40), (40, 110, 170), (210, 60, 40)),
    Detail.MOTORCYCLIST: ((60, 60, 74), (96, 40, 44), (44, 52, 84), (70, 66, 60)),
    Detail.CARAVAN: ((240, 236, 224), (234, 232, 228), (244, 238, 214), (228, 228, 222)),
    Detail.TRAILER: ((150, 152, 156), (120, 104, 84), (90, 110, 140), (168, 160, 150)),
    Detail.AUTORICKSHAW: ((240, 200, 40), (90, 160, 60), (232, 186, 50), (60, 140, 70)),
    Detail.PARKING: ((146, 124, 104), (136, 120, 104), (156, 132, 106), (130, 112, 98)),
    Detail.SNOW: ((244, 246, 250), (236, 240, 248), (248, 248, 246), (230, 236, 246)),
    Detail.SAND: ((216, 186, 126), (206, 176, 120), (224, 196, 140), (200, 172, 126)),
    Detail.WATER: ((70, 116, 156), (62, 104, 140), (86, 130, 160), (64, 120, 130)),
    Detail.POTHOLE: ((58, 56, 56), (66, 62, 58), (50, 50, 54), (70, 66, 64)),
    Detail.MOUNTAIN: ((110, 116, 132), (122, 120, 124), (98, 110, 120), (132, 132, 142)),
    Detail.TUNNEL: ((96, 92, 90), (108, 104, 98), (86, 86, 90), (116, 110, 104)),
    Detail.SIGN_FRAME: ((160, 164, 168), (148, 152, 158), (170, 172, 172), (140, 146, 150)),
    Detail.BOAT: ((236, 238, 240), (60, 100, 170), (220, 90, 60), (226, 226, 214)),
    Detail.PEDESTRIAN_AREA: ((178, 150, 130), (168, 146, 136), (186, 158, 132), (160, 146, 140)),
}
_TEXTURE = {Detail.PARKING: 7.0, Detail.RAIL_TRACK: 9.0, Detail.BRIDGE: 5.0}
_PLAIN_TEXTURE = 4.0


@cache
def _table(column: int) -> NDArray[np.uint8]:
    table = np.full(256, VOID, np.uint8)
    for id_, row in _IDS.items():
        value = row[column]
        table[id_] = VOID if value is None else value
    table.setflags(write=False)
    return table


def coarse_table() -> NDArray[np.uint8]:
    """(256,) uint8: from the canvas's ids to trainIds, 255 for what none of the 19 classes is."""
    return _table(0)


def vistas_table() -> NDArray[np.uint8]:
    """(256,) uint8: from the canvas's ids to those of Mapillary Vistas v1.2."""
    return _table(1)


def idd_table() -> NDArray[np.uint8]:
    """(256,) uint8: from the canvas's ids to IDD's level-3 ids."""
    return _table(2)


@cache
def vistas_palette() -> NDArray[np.uint8]:
    """(256, 3) uint8 RGB colours of the Vistas ids, black beyond them."""
    palette = np.zeros((256, 3), np.uint8)
    colours = np.array(load_taxonomy("mapillary66").palette, np.uint8)
    palette[: len(colours)] = colours
    return palette


def detailed_style() -> Style:
    """The neutral style with a row per finer class in palette and textures."""
    base = neutral_style()

    def extend(rows: Array, filler: float) -> Array:
        wide = np.full((TABLE, *rows.shape[1:]), filler)
        wide[: len(rows)] = rows
        return wide

    palette = extend(base.palette, 128.0)
    fine, coarse = extend(base.fine, _PLAIN_TEXTURE), extend(base.coarse, _PLAIN_TEXTURE)
    for id_, colours in _COLOURS.items():
        palette[id_] = colours
    for id_, amplitude in _TEXTURE.items():
        fine[id_] = coarse[id_] = amplitude
    return replace(base, palette=palette, fine=fine, coarse=coarse)
