"""Barcoded neuropil: statistics as published, and pictures that show what the tables say."""

import numpy as np
import pytest
from scipy.stats import norm

from projectome.core.box import Box
from projectome.datasets.phantom_barcodes import (
    EPITOPES,
    MARKERS,
    Barcoding,
    draw_codes,
    make_barcoded_neuropil,
)
from projectome.errors import ParameterError


@pytest.fixture(scope="module")
def many():
    """Codes and levels of as many neurons as were traced in the published volume."""
    return draw_codes(1500, Barcoding(labelled=1.0), np.random.default_rng(7))


def test_prevalence_and_bits_are_as_published(many):
    codes, _ = many
    share = codes.mean(axis=0)
    error = 3.5 * np.sqrt(0.25 / len(codes))
    assert share.min() == pytest.approx(0.14, abs=error)
    assert share.max() == pytest.approx(0.36, abs=error)
    assert share.mean() == pytest.approx(0.215, abs=0.02)
    assert codes.sum(axis=1).mean() == pytest.approx(4, abs=0.4)


def test_many_codes_are_shared_or_one_bit_apart(many):
    codes, _ = many
    _, which, count = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    assert (count[which.ravel()] == 1).mean() == pytest.approx(0.43, abs=0.08)
    apart = (codes[:, None] != codes[None]).sum(axis=2)
    np.fill_diagonal(apart, 99)
    assert apart.min(axis=1).mean() == pytest.approx(0.7, abs=0.2)


def test_a_fifth_expresses_most_epitopes(many):
    codes, _ = many
    # 18 channels at 0.6 or at about 0.12: more than 6 set bits tell them apart.
    assert (codes.sum(axis=1) > 6).mean() == pytest.approx(0.2, abs=0.04)


def test_a_third_of_the_entries_is_ambiguous(many):
    codes, levels = many
    ambiguous, ratios = [], []
    for channel in range(codes.shape[1]):
        on, off = (np.log(levels[codes[:, channel] == lit, channel]) for lit in (True, False))
        ratios.append(np.exp(np.median(on) - np.median(off)))
        share = codes[:, channel].mean()
        value = np.log(levels[:, channel])
        lit = share * norm.pdf(value, on.mean(), on.std())
        dark = (1 - share) * norm.pdf(value, off.mean(), off.std())
        chance = lit / (lit + dark)
        ambiguous.append(((chance > 0.1) & (chance < 0.9)).mean())
    assert np.mean(ambiguous) == pytest.approx(0.37, abs=0.07)
    assert min(ratios) == pytest.approx(1.2, abs=0.1)
    assert max(ratios) == pytest.approx(2.6, abs=0.25)


def test_neurites_show_the_levels_of_their_neuron(neuropil):
    raw = neuropil.image.read().astype(float)
    labels = neuropil.labels.read()
    neurites, codes = neuropil.tables["neurites"], neuropil.tables["codes"]
    levels = codes.pivot(index="neuron", columns="channel", values="level")
    seen, said = [], []
    for row in neurites[neurites["labelled"]].itertuples():
        inside = labels == row.id
        if inside.sum() > 1500:
            seen.append(raw[:, inside].mean(axis=1))
            said.append(levels.loc[row.neuron].to_numpy())
    assert len(seen) > 5
    assert np.corrcoef(np.ravel(seen), np.ravel(said))[0, 1] > 0.9
    # Blur at the surface and uneven staining leave a few per cent.
    assert np.median(np.ravel(seen) / np.ravel(said)) == pytest.approx(1, abs=0.06)


def test_channels_codes_and_mask_belong_together(neuropil):
    assert neuropil.image.channels == EPITOPES
    assert len(EPITOPES) == len(set(EPITOPES)) == 18
    assert neuropil.image.dtype == np.uint8
    codes, neurites = neuropil.tables["codes"], neuropil.tables["neurites"]
    assert set(codes["neuron"]) == set(neurites["neuron"][neurites["labelled"]])
    assert (codes.groupby("neuron").size() == 18).all()
    shown = set(neurites["id"][neurites["labelled"]])
    box = Box((0, 0, 0), (20, 96, 80))
    mask = neuropil.volumes["barcode_mask"].read(box) > 0
    assert np.array_equal(mask, np.isin(neuropil.labels.read(box), list(shown)))


def test_neuropil_is_dense_and_labelled_in_part(neuropil):
    assert (neuropil.labels.read() > 0).mean() > 0.7
    assert neuropil.tables["neurites"]["labelled"].mean() == pytest.approx(0.8, abs=0.2)


def test_synapses_shine_between_neurites_of_two_neurons(neuropil):
    table = neuropil.tables["synapses"]
    neuron = neuropil.tables["neurites"].set_index("id")["neuron"]
    assert len(table) > 10
    assert (neuron[table["pre"]].to_numpy() != neuron[table["post"]].to_numpy()).all()
    markers = neuropil.volumes["markers"]
    assert markers.channels == MARKERS
    light = markers.read()
    index = markers.affine.inverse()(table[["z_um", "y_um", "x_um"]].to_numpy())
    inside = np.all((index > 2) & (index < np.asarray(markers.shape) - 3), axis=1)
    excitatory = table["excitatory"].to_numpy()
    for name, where in (("Bassoon", inside), ("PSD95", inside & excitatory)):
        channel = light[MARKERS.index(name)]
        dark = np.median(channel)
        for z, y, x in np.rint(index[where]).astype(int):
            assert channel[z - 2 : z + 3, y - 3 : y + 4, x - 3 : x + 4].max() > 1.8 * dark


def test_any_box_and_any_channels_are_those_of_the_whole(neuropil):
    whole = neuropil.image.read()
    box = Box((3, 17, 30), (18, 77, 90))
    assert np.array_equal(neuropil.image.read(box), whole[(slice(None), *box.slices)])
    some = neuropil.image.array.read((slice(5, 7), *box.slices))
    assert np.array_equal(some, whole[(slice(5, 7), *box.slices)])


def test_statistics_that_make_no_sense_are_refused():
    with pytest.raises(ParameterError, match="between 0 and 1"):
        Barcoding(prevalence=(0.1, 1.5))
    with pytest.raises(ParameterError, match="above 0"):
        Barcoding(base=0.0)
    with pytest.raises(ParameterError, match="share of the volume"):
        make_barcoded_neuropil(filling=0.0)
