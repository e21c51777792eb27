"""Regions of the phantom: their tree, their codes, and the flat map of the cortex.

Inside the phantom a place has a code, small and dense; `region_ids` turns codes into the ids that
files hold. The acronyms are those of the field; identifiers, borders and colours are the phantom's
own.
"""

from __future__ import annotations

import colorsys
from functools import cache

import numpy as np
from numpy.typing import NDArray

from projectome.core.atlas import Terminology
from projectome.errors import UnknownNameError

_TREE = """
root; root; 0
  grey; Basic cell groups and regions; 0
    CH; Cerebrum; 0
      CTX; Cerebral cortex; 130
        Isocortex; Isocortex; 130
          MO; Somatomotor areas; 150
            MOs; Secondary motor area; 158; 1 2/3 5 6a
            MOp; Primary motor area; 146; 1 2/3 5 6a
          SS; Somatosensory areas; 170
            SSp; Primary somatosensory area; 166; 1 2/3 4 5 6a
            SSs; Supplemental somatosensory area; 176; 1 2/3 4 5 6a
          ACA; Anterior cingulate area; 190; 1 2/3 5 6a
          ORB; Orbital area; 204; 1 2/3 5 6a
          AI; Agranular insular area; 214; 1 2/3 5 6a
          RSP; Retrosplenial area; 112; 1 2/3 5 6a
          PTLp; Posterior parietal association areas; 124; 1 2/3 4 5 6a
          VIS; Visual areas; 90
            VISp; Primary visual area; 84; 1 2/3 4 5 6a
            VISl; Lateral visual area; 96; 1 2/3 4 5 6a
          AUD; Auditory areas; 104; 1 2/3 4 5 6a
          TEa; Temporal association areas; 136; 1 2/3 4 5 6a
        OLF; Olfactory areas; 60
          MOB; Main olfactory bulb; 56
          PIR; Piriform area; 68
        HPF; Hippocampal formation; 44
          HIP; Hippocampal region; 40
          ENT; Entorhinal area; 50
      CNU; Cerebral nuclei; 270
        CP; Caudoputamen; 262
        ACB; Nucleus accumbens; 276
        OT; Olfactory tubercle; 284
        LS; Lateral septal nucleus; 292
    BS; Brain stem; 340
      TH; Thalamus; 350
        VAL; Ventral anterior-lateral complex of the thalamus; 346
        PO; Posterior complex of the thalamus; 354
        LP; Lateral posterior nucleus of the thalamus; 2
      HY; Hypothalamus; 10
      MB; Midbrain; 320
      P; Pons; 308
      MY; Medulla; 300
    CB; Cerebellum; 30
  fiber tracts; fiber tracts; 0
    cc; corpus callosum; 0
      ccg; corpus callosum, anterior forceps and genu; 0
      ccb; corpus callosum, body; 0
      ccs; corpus callosum, splenium; 0
    ec; external capsule; 0
    int; internal capsule; 0
  VS; ventricular systems; 220
    VL; lateral ventricle; 220
    V3; third ventricle; 224
"""

DEEP = (
    *("ccg", "ccb", "ccs", "ec", "int", "VL", "V3", "LS", "ACB", "OT", "CP"),
    *("HIP", "HY", "VAL", "PO", "LP", "MB", "P", "MY", "MOB", "CB"),
)
"""Regions outside the cortical sheet, in the order of their codes 1, 2, ..."""
SHEET = (
    *("MOs", "MOp", "SSp", "SSs", "ACA", "ORB", "AI", "RSP"),
    *("PTLp", "VISp", "VISl", "AUD", "TEa", "PIR", "ENT"),
)
"""Areas of the cortical sheet; area k has the codes of five layers from `FIRST` + 5 k."""
LAYERS = ("1", "2/3", "4", "5", "6a")
FIRST = len(DEEP) + 1

# From the frontal to the occipital pole: where a band ends (s), and where its areas end (theta).
_BANDS: tuple[tuple[float, tuple[tuple[int, str], ...]], ...] = (
    (-0.50, ((20, "ACA"), (68, "MOs"), (112, "ORB"), (140, "PIR"))),
    (-0.02, ((20, "ACA"), (46, "MOs"), (74, "MOp"), (104, "SSp"), (122, "AI"), (140, "PIR"))),
    (0.22, ((24, "RSP"), (42, "MOp"), (88, "SSp"), (108, "SSs"), (122, "AI"), (140, "PIR"))),
    (0.42, ((24, "RSP"), (48, "PTLp"), (80, "SSp"), (102, "AUD"), (122, "TEa"), (140, "PIR"))),
    (1.01, ((26, "RSP"), (68, "VISp"), (86, "VISl"), (104, "AUD"), (122, "TEa"), (140, "ENT"))),
)


@cache
def terminology() -> Terminology:
    """Return the region tree of the phantom; cortical areas end in layers."""
    ids: list[int] = []
    acronyms: list[str] = []
    names: list[str] = []
    parents: list[int] = []
    colours: list[tuple[int, int, int]] = []
    above: list[int] = []

    def add(identifier: int, acronym: str, name: str, parent: int, hue: int) -> None:
        light = 0.62 + 0.05 * (len(ids) % 3)
        strength = 0.45 if hue else 0.0
        red, green, blue = colorsys.hls_to_rgb(hue / 360, light, strength)
        ids.append(identifier)
        acronyms.append(acronym)
        names.append(name)
        parents.append(parent)
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))

    for number, line in enumerate(_TREE.strip("\n").splitlines(), start=1):
        depth = (len(line) - len(line.lstrip())) // 2
        acronym, name, hue, *layers = (part.strip() for part in line.split(";"))
        del above[depth:]
        above.append(len(ids))
        parent = above[-2] if depth else -1
        add(number, acronym, name, parent, int(hue))
        for layer in " ".join(layers).split():
            # Wider than 16 bits on purpose, as identifiers of real atlases are.
            identifier = 100_000 + 10 * number + LAYERS.index(layer) + 1
            add(identifier, acronym + layer, f"{name}, layer {layer}", above[-1], int(hue))
    return Terminology(
        np.asarray(ids), tuple(acronyms), tuple(names), np.asarray(parents), np.asarray(colours)
    )


@cache
def region_ids() -> NDArray[np.uint32]:
    """Return the region id of each code; code 0 is outside."""
    tree = terminology()
    ids = [0, *(int(tree.ids[tree.row(name)]) for name in DEEP)]
    for area in SHEET:
        own = {tree.acronyms[row] for row in tree.rows_below(area)}
        for layer, deeper in zip(LAYERS, (*LAYERS[1:], LAYERS[-1]), strict=True):
            # Areas without layer 4 have layer 5 in its place; PIR and ENT have no layers here.
            candidates = (area + layer, area + deeper, area)
            ids.append(int(tree.ids[tree.row(next(name for name in candidates if name in own))]))
    return np.asarray(ids, dtype=np.uint32)


def area_codes(area: str) -> tuple[int, ...]:
    """Return the codes of the layers of a cortical area.

    Raises
    ------
    UnknownNameError
        If the phantom has no such area.
    """
    if area not in SHEET:
        raise UnknownNameError("cortical area", area, SHEET, where="the phantom")
    first = FIRST + len(LAYERS) * SHEET.index(area)
    return tuple(range(first, first + len(LAYERS)))


@cache
def flatmap() -> NDArray[np.int64]:
    """Return the place in `SHEET` of the cortical area by theta and s.

    Returns
    -------
    numpy.ndarray
        Shape (140, 200): one row a degree of theta, one column 0.01 of s from -1.
    """
    theta, s = np.meshgrid(np.arange(140) + 0.5, (np.arange(200) + 0.5) / 100 - 1, indexing="ij")
    # Borders swing a little, as those of real areas do.
    theta_bent = theta + 4 * np.sin(5 * s + 1)
    s_bent = s + 0.06 * np.sin(np.radians(4 * theta))
    area = np.zeros(theta.shape, dtype=np.int64)
    done = np.zeros(theta.shape, dtype=bool)
    for s_end, areas in _BANDS:
        band = ~done & (s_bent < s_end)
        done |= band
        for theta_end, name in reversed(areas):
            limit = 1e3 if name == areas[-1][1] else theta_end
            area[band & (theta_bent < limit)] = SHEET.index(name)
    area.flags.writeable = False
    return area
