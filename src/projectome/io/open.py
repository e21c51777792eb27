"""Open a volume: look what lies at an address and hand it to the reader that knows it."""

from __future__ import annotations

import re
from dataclasses import replace

from projectome.core.space import Meaning
from projectome.core.volume import Pyramid
from projectome.errors import FormatError, NotFoundError, ParameterError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.cache import cached
from projectome.io.metadata.beside import stated_size, with_asset
from projectome.io.metadata.known import with_catalog
from projectome.io.volumes.bdv import BdvReader
from projectome.io.volumes.czi import CziReader
from projectome.io.volumes.hdf5 import Hdf5Reader
from projectome.io.volumes.n5 import N5Reader
from projectome.io.volumes.nd2 import Nd2Reader
from projectome.io.volumes.nifti import NiftiReader
from projectome.io.volumes.npy import NpyReader
from projectome.io.volumes.nrrd import NrrdReader
from projectome.io.volumes.oib import OibReader
from projectome.io.volumes.ome_zarr import OmeZarrReader
from projectome.io.volumes.options import UNFINISHED, OpenOptions, Place, Reader, unfinished
from projectome.io.volumes.precomputed import PrecomputedReader
from projectome.io.volumes.tiff import TiffReader
from projectome.settings import resolve

READERS: tuple[Reader, ...] = (
    OmeZarrReader(),
    PrecomputedReader(),
    N5Reader(),
    TiffReader(),
    NiftiReader(),
    NrrdReader(),
    Hdf5Reader(),
    BdvReader(),
    NpyReader(),
    Nd2Reader(),
    CziReader(),
    OibReader(),
)
"""Asked in this order."""
FRAGMENT = re.compile(
    r"(?<=\.tif|tiff|\.nd2|\.czi|\.oib|\.oif)#(?:(\d{1,9})|([a-z]=\d{1,9}(?:,[a-z]=\d{1,9})*))$",
    re.IGNORECASE,
)
"""Which image of a file: ``#1``, or a place along its further axes: ``#t=0,h=3``."""
INSIDE = re.compile(r"(?<=\.h5|hdf|df5|ims|mat|xml)#(.+)$", re.IGNORECASE)
"""Which dataset of an HDF5 file, or setup of BigDataViewer: ``#group/data``, ``#s01``."""
FOLDER = re.compile(r"^(?:s3|gs|https?)://.+/(?:[^/.]+|[^/]+\.(?:zarr|n5|precomputed))$", re.I)
KNOWN_HEADS = {
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG": "a PNG image",
    b"GIF8": "a GIF image",
    b"BM": "a bitmap image",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip file",
    b"NRRD": "an NRRD file",
    b"PK\x03\x04": "a zip archive",
    b"ZISRAW": "a later part of a CZI file in several parts",
    b"\x00\x00\x00\x0cjP": "a JPEG 2000 image, as ND2 files from before NIS-Elements 3 are",
    b"{": "a JSON document",
}

NO_VOLUMES = {
    (".swc", ".eswc", ".nml", ".traces"): "neurons: projectome measure, or in Python "
    "projectome.read_skeletons",
    (".csv", ".parquet", ".apo", ".xml"): "points: in Python, projectome.read_points",
    (".json",): "metadata, which are read beside a volume (--asset), or neurons: in Python, "
    "projectome.read_asset and projectome.read_skeletons",
}
"""What files hold by how their names end, and what reads them."""


def open_volume(
    url: str,
    *,
    voxel_size: tuple[float, float, float] | None = None,
    axes: str | None = None,
    orientation: str | None = None,
    meaning: Meaning | None = None,
    expansion: float | None = None,
    time: int | None = None,
    strict: bool = False,
    asset: str | bool = True,
    endpoint: str | None = None,
    anonymous: bool | None = None,
) -> Pyramid:
    """Open the volume at an address; no voxel is read.

    What the user says wins over what the file says, and is kept in ``metadata["user"]``. What no
    file says of a dataset of the catalog is taken from there, and told in ``metadata["catalog"]``.

    Parameters
    ----------
    url
        A path, ``file://``, ``s3://``, ``gs://`` or ``http(s)://`` address of an OME-Zarr image, a
        Zarr array, a TIFF file (``brain.tif#1`` is its second image) or a folder of TIFF planes, a
        file of a microscope (``brain.nd2#1`` is its second position, ``brain.czi#t=0,h=3`` a place
        along further axes), or any other format of the documentation. A prefix forces a reader, as
        in ``zarr://s3://bucket/image.zarr/0``.
    voxel_size
        Size of a voxel of the finest level (z, y, x) [um].
    axes
        One letter an axis as it lies in the file, for instance ``"tczyx"``.
    orientation, meaning
        Three-letter code in the order (z, y, x), and whether its letters say where the coordinate
        increases ``"toward"`` or where it starts ``"from"``.
    expansion
        Micrometres of the volume in one micrometre of tissue.
    time
        Time point, or place along another extra axis, of a file with more than one.
    strict
        Whether a missing chunk is an error instead of the fill value.
    asset
        Where the metadata of the data asset lies, a folder or a JSON document. True looks in the
        folders above a volume that states no orientation; False takes none.
    endpoint
        Address of an S3 service other than AWS; by the settings if None.
    anonymous
        Whether to ask without signing; by the settings if None.

    Returns
    -------
    Pyramid
        Lazy levels, finest first; ``metadata`` has ``format``, ``version`` and ``url``.

    Raises
    ------
    NotFoundError
        If there is nothing at the address.
    FormatError, MetadataError
        If it is no volume, or a broken one; the message names the way out.
    ParameterError
        If a fact is missing that only the user can give, or one given is not possible.
    StoreError
        If the store does not answer as hoped.
    """
    options = OpenOptions(
        voxel_size=voxel_size,
        axes=axes,
        orientation=orientation,
        meaning=meaning,
        expansion=expansion,
        time=time,
        strict=strict,
        asset=asset,
        access=Access.of(endpoint=endpoint, anonymous=anonymous),
    )
    address, readers = _forced(url)
    address, options = _image(address, options)
    place, reader = _found(str(stores.parse(address)), readers, options.access)
    try:
        pyramid = reader.open(place, options)
    except ParameterError as error:
        if options.voxel_size is None and "--voxel-size" in str(error):
            hint = stated_size(place.url, options.asset, access=options.access)
            error.args = (f"{error}{hint}",)
        raise
    said = options.said()
    pyramid = with_asset(pyramid, place.url, options.asset, access=options.access)
    pyramid = with_catalog(pyramid, address, expansion_said=expansion is not None)
    pyramid = replace(pyramid, metadata={**pyramid.metadata, "user": said})
    return cached(pyramid, resolve()[0], said)


def _found(url: str, readers: tuple[Reader, ...], access: Access) -> tuple[Place, Reader]:
    """Return what lies at an address and the reader that knows it.

    A name in an object store that is mostly one of a folder is looked at as one first.
    """
    place = Place(url, access) if FOLDER.search(url) else Place.look(url, access)
    reader = next((reader for reader in readers if reader.sniff(place)), None)
    if reader is None and FOLDER.search(url):
        file = Place.look(url, access)
        if file.head is not None:
            place = file
            reader = next((reader for reader in readers if reader.sniff(place)), None)
    if reader is None:
        raise _refused(place, readers)
    return place, reader


def _image(address: str, options: OpenOptions) -> tuple[str, OpenOptions]:
    """Return the address of the file, and which of its images the fragment behind it names."""
    inside = INSIDE.search(address)
    if inside is not None:
        return address[: inside.start()], replace(options, inside=inside[1])
    found = FRAGMENT.search(address)
    if found is None:
        return address, options
    address = address[: found.start()]
    if found[1]:
        return address, replace(options, series=int(found[1]))
    pairs = [pair.split("=") for pair in found[2].lower().split(",")]
    places = {letter: int(place) for letter, place in pairs}
    if len(places) < len(pairs):
        raise ParameterError(f"{found[0]} names an axis twice. Choose one place on each.")
    return address, replace(options, places=places)


def _forced(url: str) -> tuple[str, tuple[Reader, ...]]:
    """Return the address without the prefix of a reader, and the readers to ask."""
    scheme, mark, rest = url.partition("://")
    chosen = tuple(reader for reader in READERS if mark and reader.prefix == scheme.lower())
    if not chosen:
        return url, READERS
    if not rest:
        raise ParameterError(f"{url!r} names no address: write {scheme}://ADDRESS.")
    return rest, chosen


def _refused(place: Place, readers: tuple[Reader, ...]) -> FormatError | NotFoundError:
    known = ", ".join(reader.name for reader in readers)
    if place.head is not None:
        what = next((w for head, w in KNOWN_HEADS.items() if place.head.startswith(head)), "")
        what = what or ("an empty file" if not place.head else "a file of unknown format")
        start = f"{place.url} is {what}, not a volume that can be read."
        for endings, reading in NO_VOLUMES.items():
            if place.head and place.url.lower().endswith(endings):
                ending = place.url[place.url.rindex(".") :]
                return FormatError(
                    f"{start} Files named {ending} hold {reading}. Check what it is."
                )
        return FormatError(
            f"{start} Known: {known}. Convert it to OME-Zarr or TIFF, or check the address."
        )
    if place.names is None and stores.parse(place.url).scheme not in ("http", "https"):
        stores.list_folder(place.url, access=place.access)  # says why not
    if place.names is None:
        return NotFoundError(
            f"Found no volume at {place.url}, which cannot be listed. Known: {known}. Give the "
            "full address of the volume; a private store needs --signed."
        )
    if UNFINISHED in place.names:
        return unfinished(place.url)
    inside = ", ".join(place.names[:12]) + (" ..." if len(place.names) > 12 else "")
    return FormatError(
        f"{place.url} is a folder without a volume of its own. Known: {known}. It holds: "
        f"{inside or 'nothing'}. Open one of these; list them with: projectome ls {place.url}"
    )
