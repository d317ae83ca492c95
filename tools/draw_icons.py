r"""Draw the site's icon and header picture, both computed, into `site_static/`.

    python tools/draw_icons.py

The header shows what the course is about and nothing invented: a handwritten digit of the course's
data, three kernels, and the three feature maps that `cross_correlate2d` makes of them. Running the
script twice writes the same bytes; a test holds the committed files against it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from coursepkg.convolution.filters import FILTERS
from coursepkg.convolution.reference import cross_correlate2d
from coursepkg.data.digits import load_digits

STATIC = Path(__file__).resolve().parents[1] / "site_static"

INK, GROUND, WINDOW = (255, 255, 255), (18, 32, 54), "#ffd166"
NEGATIVE, POSITIVE = (77, 184, 255), (255, 138, 92)
KERNELS = "sobel_x", "sobel_y", "laplacian"

LEVELS = 8  # shades between the ground and a full colour: few shades make a small file
DIGIT = 24  # which of the training images the header shows: a 4
PLACE = 8, 16  # row and column of the window that the header follows to its three outputs


def colour(level: int, positive: tuple[int, ...] = POSITIVE) -> str:
    """Return the colour of a level in -LEVELS ... LEVELS: `NEGATIVE`, ground, `positive`."""
    full = positive if level > 0 else NEGATIVE
    share = abs(level) / LEVELS
    return "#" + "".join(
        f"{round(g + share * (f - g)):02x}" for g, f in zip(GROUND, full, strict=True)
    )


def pixels(values: np.ndarray, x: int, y: int, size: int, **palette: tuple[int, ...]) -> str:
    """Draw a 2-D array as squares of `size`: one path for each shade, zero is left out."""
    levels = np.round(LEVELS * values / np.abs(values).max()).astype(int)
    paths = []
    for level in np.unique(levels[levels != 0]):
        squares = "".join(
            f"M{x + size * j} {y + size * i}h{size}v{size}h-{size}z"
            for i, j in np.argwhere(levels == level)
        )
        paths.append(f'<path fill="{colour(level, **palette)}" d="{squares}"/>')
    return "\n".join(paths)


def frame(x: int, y: int, width: int, stroke: str = "#5b7190", thick: float = 1.5) -> str:
    """Draw the outline of a square."""
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{width}" fill="none" '
        f'stroke="{stroke}" stroke-width="{thick}"/>'
    )


def document(width: int, height: int, title: str, radius: int, parts: list[str]) -> str:
    """Wrap the parts into an SVG file on a rounded ground."""
    ground = colour(0)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{title}</title>",
            f'<rect width="{width}" height="{height}" rx="{radius}" fill="{ground}"/>',
            '<g shape-rendering="crispEdges">',
            *parts,
            "</g>",
            "</svg>",
            "",
        ]
    )


def icon() -> str:
    """Draw a 3x3 edge kernel."""
    return document(32, 32, "An edge kernel", 6, [pixels(FILTERS["sobel_x"], 4, 4, 8)])


def header(digit: np.ndarray) -> str:
    """Draw digit -> kernels -> feature maps, following one window through all of them."""
    row, column = PLACE
    scale, small, top = 9, 6, 24
    window = top + scale * column, top + scale * row
    parts = [
        pixels(digit, top, top, scale, positive=INK),
        frame(top, top, 28 * scale),
    ]
    for n, kernel in enumerate(FILTERS[name] for name in KERNELS):
        left = 372 + 196 * n
        response = cross_correlate2d(digit, kernel)  # (28, 28) -> (26, 26)
        middle, below = left + 51, 120
        pixel = left + small * column, below + small * row
        parts += [
            f'<path d="M{window[0] + 27} {window[1] + 13}C{middle - 60} {window[1] + 13} '
            f'{middle - 90} 51 {middle} 51" fill="none" stroke="{WINDOW}" stroke-opacity=".55" '
            f'stroke-width="1.5" shape-rendering="auto"/>',
            pixels(kernel, middle, top, 18),
            frame(middle, top, 54, WINDOW),
            pixels(response, left, below, small),
            frame(left, below, 26 * small),
            f'<path d="M{middle + 27} 78L{pixel[0] + 3} {pixel[1]}" stroke="{WINDOW}" '
            f'stroke-opacity=".55" stroke-width="1.5" shape-rendering="auto"/>',
            frame(*pixel, small, WINDOW, 2),
        ]
    parts.append(frame(*window, 3 * scale, WINDOW, 3))
    return document(960, 300, "A digit, three kernels and three feature maps", 14, parts)


def drawings() -> dict[str, str]:
    """Return the text of every drawn file by name."""
    digit = load_digits().train_images[DIGIT, 0]
    return {"icon.svg": icon(), "header.svg": header(digit)}


if __name__ == "__main__":
    for name, text in drawings().items():
        (STATIC / name).write_text(text, encoding="utf-8")
        print(f"{STATIC / name}: {len(text) / 1000:.1f} kB")
