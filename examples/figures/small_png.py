"""Makes a PNG small enough for a README."""

from PIL import Image
from PIL import PngImagePlugin

# The most that a palette holds.
NUM_COLOURS = 256


def shrink(source, target, *, width):
  """Writes a PNG of a given width with a palette, and keeps its provenance.

  Args:
    source: Path of the PNG that is read.
    target: Path or binary file of the one that is written.
    width: Width in pixels; the height follows.
  """
  with Image.open(source) as image:
    provenance = PngImagePlugin.PngInfo()
    for name, text in image.text.items():
      provenance.add_text(name, text)
    height = round(image.height * width / image.width)
    small = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
  # By coverage, since by frequency the rare colours of peaks would be lost.
  method = Image.Quantize.MAXCOVERAGE
  small = small.quantize(NUM_COLOURS, method=method, kmeans=4, dither=Image.Dither.NONE)
  small.save(target, format="PNG", optimize=True, pnginfo=provenance)
