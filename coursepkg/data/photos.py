r"""Real photographs that are already on the machine, with title, credit, licence and alt text.

They ship inside the packages scikit-image and scikit-learn. Files are opened where those packages
lie: neither is imported, and no network is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coursepkg.validation import pair

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["PHOTOS", "Photo", "photo", "photo_names"]


@dataclass(frozen=True)
class Photo:
    r"""Where a photograph lies and what to say about it.

    Attributes
    ----------
    package, file : str
        The installed package, and the path inside it.
    caption, credit, licence : str
        For the line under a figure; a licence that the source does not state is "not stated".
    alt : str
        One sentence for readers who cannot see it.
    """

    package: str
    file: str
    caption: str
    credit: str
    licence: str
    alt: str

    @property
    def path(self) -> Path:
        """The file on this machine."""
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(
                f"the photograph {self.file} ships in {self.package}; run pip install coursepkg"
            )
        return Path(spec.origin).parent / self.file


_SKIMAGE, _SKLEARN = "skimage", "sklearn"
_FREE, _OPEN = "CC0 1.0", "public domain"

#: Every photograph, by its name.
PHOTOS: dict[str, Photo] = {
    "astronaut": Photo(
        _SKIMAGE,
        "data/astronaut.png",
        "Eileen Collins, astronaut",
        "NASA",
        _OPEN,
        "A smiling astronaut in an orange suit before a flag and a model of a space shuttle.",
    ),
    "brick": Photo(
        _SKIMAGE,
        "data/brick.png",
        "Brick wall",
        "CC0Textures",
        _FREE,
        "Rows of dark bricks with light joints, in grey.",
    ),
    "camera": Photo(
        _SKIMAGE,
        "data/camera.png",
        "Photographer",
        "Lav Varshney",
        _FREE,
        "A man in a dark coat looks through a camera on a tripod, in grey.",
    ),
    "cell": Photo(
        _SKIMAGE,
        "data/cell.png",
        "Cell in saline",
        "Paul Müller and others, 2018",
        _FREE,
        "One bright round cell on a dark background with faint bands, in grey.",
    ),
    "chelsea": Photo(
        _SKIMAGE,
        "data/chelsea.png",
        "Chelsea the cat",
        "Stefan van der Walt",
        _FREE,
        "The face of a tabby cat, close up.",
    ),
    "china": Photo(
        _SKLEARN,
        "datasets/images/china.jpg",
        "Tower in China",
        "danielbuechele (Flickr)",
        "CC BY 2.0",
        "A many-storeyed red and green tower above trees and a misty lake.",
    ),
    "clock": Photo(
        _SKIMAGE,
        "data/clock_motion.png",
        "Clock, blurred by motion",
        "Stefan van der Walt",
        _OPEN,
        "A bright round clock face smeared sideways by a moving camera, in grey.",
    ),
    "coffee": Photo(
        _SKIMAGE,
        "data/coffee.png",
        "Cup of coffee",
        "Rachel Michetti",
        _FREE,
        "A cup of coffee on a red saucer with a spoon, on a wooden table.",
    ),
    "coins": Photo(
        _SKIMAGE,
        "data/coins.png",
        "Greek coins from Pompeii",
        "Brooklyn Museum",
        "no known restrictions",
        "Twenty-four old coins in four rows on a grey ground.",
    ),
    "flower": Photo(
        _SKLEARN,
        "datasets/images/flower.jpg",
        "Dahlia",
        "vultilion (Flickr)",
        "CC BY 2.0",
        "An orange dahlia in bloom before blurred dark leaves.",
    ),
    "grass": Photo(
        _SKIMAGE,
        "data/grass.png",
        "Grass",
        "linolafett (DeviantArt)",
        _FREE,
        "A lawn seen from above, in grey.",
    ),
    "gravel": Photo(
        _SKIMAGE,
        "data/gravel.png",
        "Gravel",
        "CC0Textures",
        _FREE,
        "Small sharp stones seen from above, in grey.",
    ),
    "horse": Photo(
        _SKIMAGE,
        "data/horse.png",
        "Outline of a horse",
        "Andreas Preuss",
        _FREE,
        "The black outline of a standing horse on white.",
    ),
    "hubble": Photo(
        _SKIMAGE,
        "data/hubble_deep_field.jpg",
        "Hubble eXtreme Deep Field",
        "NASA and ESA",
        _OPEN,
        "Hundreds of galaxies of many colours on a black sky.",
    ),
    "moon": Photo(
        _SKIMAGE,
        "data/moon.png",
        "Surface of the Moon",
        "scikit-image",
        "not stated",
        "Craters on the Moon, in grey of low contrast.",
    ),
    "motorcycle": Photo(
        _SKIMAGE,
        "data/motorcycle_left.png",
        "Motorcycle, left view of a stereo pair",
        "Scharstein and others, Middlebury 2014",
        "not stated",
        "A red motorcycle in a garage full of shelves.",
    ),
    "page": Photo(
        _SKIMAGE,
        "data/page.png",
        "Scanned page",
        "scikit-image",
        "not stated",
        "Printed text on paper that is lit unevenly, in grey.",
    ),
    "retina": Photo(
        _SKIMAGE,
        "data/retina.jpg",
        "Human retina",
        "Mikael Häggström, 2014",
        _FREE,
        "The back of an eye: an orange disc with branching vessels on black.",
    ),
    "rocket": Photo(
        _SKIMAGE,
        "data/rocket.jpg",
        "Falcon 9 before its launch",
        "SpaceX",
        _OPEN,
        "A white rocket on its launch pad at dusk, between tall masts.",
    ),
    "text": Photo(
        _SKIMAGE,
        "data/text.png",
        "Handwriting",
        "Wikipedia",
        _OPEN,
        "Formulas written by hand on lined paper, in grey.",
    ),
}


def photo_names() -> tuple[str, ...]:
    r"""Return the names that :func:`photo` knows, in alphabetical order."""
    return tuple(PHOTOS)


def photo(
    name: str, size: int | tuple[int, int] | None = None, grey: bool = False
) -> NDArray[np.uint8]:
    r"""Load a photograph.

    Parameters
    ----------
    name : str
        One of :func:`photo_names`.
    size : int or (int, int), optional
        An int is the length of the shorter side, with proportions kept; a pair is height and
        width. Shrinking averages (Lanczos window as wide as the step), so nothing aliases.
    grey : bool
        Luma of ITU-R BT.601, ``0.299 R + 0.587 G + 0.114 B``, instead of three channels.

    Returns
    -------
    ndarray
        ``(H, W, 3)`` uint8, or ``(H, W)`` uint8 if `grey`; writable, a new array each time.

    Raises
    ------
    ValueError
        The name is unknown, or a side is not an integer of at least 1.

    Examples
    --------
    >>> photo("chelsea").shape, photo("chelsea", size=64).shape
    ((300, 451, 3), (64, 96, 3))
    >>> photo("coins", size=(20, 30), grey=True).shape
    (20, 30)
    """
    from PIL import Image

    if name not in PHOTOS:
        raise ValueError(f"name={name!r} is no photograph here; choose from {', '.join(PHOTOS)}")
    with Image.open(PHOTOS[name].path) as file:
        image = _on_white(file)
    if size is not None:
        width, height = _width_height(size, image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return np.array(image.convert("L") if grey else image)


def _on_white(file: Image.Image) -> Image.Image:
    """Any mode -> RGB; transparent parts become white."""
    from PIL import Image

    rgba = file.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _width_height(size: int | tuple[int, int], old: tuple[int, int]) -> tuple[int, int]:
    height, width = pair("size", size, 1)
    if not isinstance(size, (tuple, list)):  # the shorter side
        width, height = (round(height * side / min(old)) for side in old)
    return width, height
