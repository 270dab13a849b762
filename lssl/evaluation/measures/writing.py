"""Made pictures as files of the kind that their photographs are, so that they are compared as such.

A JPEG usually keeps colour at half its resolution (4:2:0). A picture that was made from it and never was a JPEG has colour in every
pixel; a two-sample test tells the two kinds of files apart by that grain, which nobody sees, whatever the pictures show.
(WebP and HEIC can keep colour so too; they are not imitated.)
"""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import get_sampling

_HALF_COLOUR = 2  # 4:2:0, in Pillow's numbers


def written_like(image: NDArray[np.uint8], photograph: Path) -> NDArray[np.uint8]:
    """A picture (H, W, 3) after being written as the file `photograph` was, and read again.

    If that is a JPEG: with its quantisation tables and its sampling of colour. Other formats change nothing.
    """
    with Image.open(photograph) as file:
        tables = getattr(file, "quantization", None)
        if not tables:
            return image
        sampling = get_sampling(file)
    buffer = io.BytesIO()
    options = {"qtables": tables, "subsampling": _HALF_COLOUR if sampling < 0 else sampling}
    Image.fromarray(image).save(buffer, "JPEG", **options)
    return np.array(Image.open(buffer).convert("RGB"))
