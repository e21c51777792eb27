"""Options that name a place in an image by an atlas, and how they are understood."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from projectome.cli.addresses import source_of
from projectome.cli.options import PictureOptions
from projectome.errors import ParameterError

if TYPE_CHECKING:
    from projectome.io.source import VolumeSource
    from projectome.workflows.places import Place


@dataclass(frozen=True)
class PlaceOptions:
    """A place in the image, found through an atlas.

    Attributes
    ----------
    region
        Regions by acronym, id or name, separated by commas; only where these lie.
    atlas
        The atlas that they are of; that of the registration if left out.
    registration
        What register wrote for this image; without it the image lies in the atlas.
    margin
        Around the regions [um of the image].
    ccf
        An image in the atlas begins at the outer corner of the atlas's first voxel, whatever the
        origin that its file states.
    """

    panel: ClassVar[str] = "Place"

    region: str | None = None
    atlas: str | None = None
    registration: str | None = None
    margin: float = 0.0
    ccf: bool = False

    @property
    def given(self) -> bool:
        """Whether a place is asked for."""
        return not (self.region is self.atlas is self.registration is None)


def place_of(url: str, options: PictureOptions, place: PlaceOptions, *, whole: bool) -> Place:
    """Return the image and the regions that are meant.

    Parameters
    ----------
    url, options
        The image.
    place
        What of it.
    whole
        Without a level asked for, take the finest of which all voxels can be held; else the
        coarsest that fills a picture.
    """
    from projectome.workflows.atlas import open_atlas
    from projectome.workflows.places import find_place, gathering_level
    from projectome.workflows.published import open_registration
    from projectome.workflows.regions import registration_atlas

    saved = None if place.registration is None else open_registration(place.registration)[0]
    name = place.atlas
    if name is None and saved is not None and place.registration is not None:
        name = registration_atlas(saved, place.registration)
    if name is None:
        raise ParameterError(
            "A region is one of an atlas: name it with --atlas, or the registration of this image "
            "with --with."
        )
    source: VolumeSource = replace(source_of(url, options), level=0)
    level = gathering_level(source) if whole and options.level is None else options.level
    regions = [part.strip() for part in (place.region or "").split(",") if part.strip()]
    return find_place(
        source,
        open_atlas(name),
        regions,
        registration=saved,
        ccf=place.ccf,
        margin_um=place.margin,
        level=level,
    )


def place_title(place: Place, options: PlaceOptions) -> str:
    """Return what a figure says of a place."""
    shown = f"{options.region} of {place.atlas.name}" if options.region else place.atlas.name
    return f" \u00b7 {shown}"
