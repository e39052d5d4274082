"""The shop's images: portraits drawn from a name, thumbnails and sizes of what customers upload. Tasks call it.

Nothing here knows of models or tasks: an open file or a name goes in, the bytes of an image come out.
"""

import hashlib
import io
from typing import IO

from PIL import Image, ImageDraw, ImageFont, ImageOps

PORTRAIT = 256
THUMBNAIL = (160, 160)
CELLS = 8


def portrait(name: str) -> bytes:
    """A square with the name's initials on a pattern that is the same for the same name."""
    digest = hashlib.sha256(name.encode()).digest()
    back = Image.new("HSV", (PORTRAIT, PORTRAIT), (digest[0], 120, 150)).convert("RGB")
    fore = Image.new("HSV", (1, 1), (digest[0], 140, 175)).convert("RGB").getpixel((0, 0))
    draw = ImageDraw.Draw(back)
    cell = PORTRAIT // CELLS
    for row in range(CELLS):
        for column in range(CELLS // 2):  # the right half mirrors the left
            if digest[row] >> column & 1:
                for x in (column, CELLS - 1 - column):
                    draw.rectangle(
                        (x * cell, row * cell, (x + 1) * cell - 1, (row + 1) * cell - 1), fill=fore
                    )
    initials = "".join(word[0] for word in name.split()[:2]).upper()
    middle = PORTRAIT / 2
    draw.text((middle, middle), initials, font=ImageFont.load_default(size=110), fill="white", anchor="mm")
    return _bytes(back, "PNG")


def thumbnail(source: IO[bytes]) -> bytes:
    """The picture's middle, cut to a small square."""
    with _opened(source) as picture:
        return _bytes(ImageOps.fit(picture, THUMBNAIL, Image.Resampling.LANCZOS), "JPEG")


def resized(source: IO[bytes], width: int) -> bytes:
    """The whole picture, scaled to this width; a smaller one is left as it is."""
    with _opened(source) as picture:
        if picture.width > width:
            height = round(picture.height * width / picture.width)
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        return _bytes(picture, "JPEG")


def _opened(source: IO[bytes]) -> Image.Image:
    """The picture as its camera meant it, without transparency."""
    return ImageOps.exif_transpose(Image.open(source)).convert("RGB")


def _bytes(picture: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, quality=85)
    return out.getvalue()
