"""What a notebook shows: every level, nothing that a file could smuggle in, never an error."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import projectome
from projectome.core.affine import Affine
from projectome.core.space import Space
from projectome.core.volume import Pyramid, Volume
from projectome.errors import Problem, StoreError

EVIL = '<script>alert("x")</script>&"\'><img src=x onerror=alert(1)>'


class Tags(HTMLParser):
    """Collects elements, their attributes and text, and checks that all are closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.texts, self.sources = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.open.append(tag)
        if tag == "img":
            self.sources.append(dict(attributes)["src"])
            assert set(dict(attributes)) == {"alt", "src"}

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def picture(html: str) -> Image.Image:
    """Return the picture in some HTML."""
    (source,) = Tags(html).sources
    head, _, data = source.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


class Claimed:
    """A lazy array of any size that fails, or counts, when it is read."""

    def __init__(self, shape, error=None, fill=0, dtype=np.uint16):
        self.shape, self.chunks, self.dtype = shape, shape, np.dtype(dtype)
        self.error, self.fill, self.reads = error, fill, 0

    def read(self, index):
        self.reads += 1
        if self.error:
            raise self.error
        return np.full([s.stop - s.start for s in index], self.fill, self.dtype)


def test_levels_and_facts_are_listed(tmp_path):
    space = Space.from_code("PIR", meaning="toward", name="brain", expansion=4)
    grey = np.zeros((2, 20, 60, 80), np.uint16)
    volume = Volume.from_array(
        grey, voxel_size=(4, 2, 2), space=space, channels=["GFP", "RFP"], name="a"
    )
    pyramid = projectome.write_volume(volume, str(tmp_path / "a.ome.zarr"), levels=2)
    texts = Tags(pyramid._repr_html_()).texts
    for text in (
        "20 x 60 x 80",
        "4 x 2 x 2",
        "uint16",
        "384 kB",
        "z toward posterior, y toward inferior, x toward right",
        "brain",
        "4",
        "GFP, RFP",
    ):
        assert text in texts
    assert "10 x 30 x 40" in texts or "20 x 30 x 40" in texts


def test_a_volume_is_a_pyramid_of_one_level():
    volume = Volume.from_array(np.eye(8)[None], voxel_size=(1, 1, 1))
    assert volume._repr_html_() == Pyramid((volume,))._repr_html_()


def test_what_a_file_says_is_text_and_nothing_else():
    affine = Affine.from_scale((1, 1, 1), target=Space(name=EVIL))
    volume = Volume(Claimed((1, 2, 4, 4)), affine, (EVIL,), name=EVIL)
    problems = (Problem("warning", EVIL, EVIL),)
    html = Pyramid((volume,), problems, {"format": EVIL})._repr_html_()
    tags = Tags(html)
    assert "script" not in tags.tags
    assert tags.tags.count("img") == 1
    assert sum(text.count(EVIL) for text in tags.texts) == 6


def test_the_picture_shows_the_coarsest_level_in_proportion():
    grey = np.zeros((3, 10, 20), np.uint16)
    grey[1, :, :10] = 500
    volume = Volume.from_array(grey, voxel_size=(9, 2, 1))
    image = picture(volume._repr_html_())
    assert image.size == (192, 192)  # 20 um each way
    values = np.asarray(image)
    assert (values[:, :90] == 255).all()
    assert (values[:, 102:] == 0).all()


def test_labels_get_colours_and_background_none():
    labels = np.zeros((1, 4, 4), np.uint32)
    labels[0, 0] = 7
    labels[0, 1] = 8
    volume = Volume.from_array(labels, voxel_size=(1, 1, 1), kind="labels")
    values = np.asarray(picture(volume._repr_html_()))
    assert (values[-1] == 0).all()
    assert values[0, 0].min() > 0
    assert tuple(values[0, 0]) != tuple(values[60, 0])


def test_float_images_with_holes_are_shown():
    grey = np.linspace(-1, 1, 64).reshape(1, 8, 8)
    grey[0, 0] = np.nan
    picture(Volume.from_array(grey, voxel_size=(1, 1, 1))._repr_html_())


@pytest.mark.parametrize(
    "error", [StoreError("gone"), MemoryError(), ValueError("odd"), OSError("broken")]
)
def test_a_level_that_cannot_be_read_is_shown_without_picture(error):
    volume = Volume(Claimed((4, 8, 8), error), Affine.from_scale((1, 1, 1)))
    assert Tags(volume._repr_html_()).sources == []


@pytest.mark.parametrize("shape", [(10**4, 10**4, 10**4), (1, 3000, 3000), (0, 8, 8)])
def test_large_and_empty_levels_are_not_read(shape):
    array = Claimed(shape)
    html = Volume(array, Affine.from_scale((1, 1, 1)))._repr_html_()
    assert (array.reads, Tags(html).sources) == (0, [])


def test_a_small_level_in_a_large_chunk_is_not_read():
    array = Claimed((4, 8, 8))
    array.chunks = (1024, 1024, 1024)
    Volume(array, Affine.from_scale((1, 1, 1)))._repr_html_()
    assert array.reads == 0


def test_only_one_channel_is_read():
    array = Claimed((500, 4, 64, 64))
    names = tuple(map(str, range(500)))
    html = Volume(array, Affine.from_scale((1, 1, 1)), names)._repr_html_()
    assert array.reads == 1
    assert "and 488 more" in html
