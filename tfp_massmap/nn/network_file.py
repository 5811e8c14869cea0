"""Trained networks on disk: `NAME.weights.h5`, arrays only, and the card `NAME.json`.

The card describes the network and its training. Reading the two runs no code from them.
Weights whose checksum is not the card's, and cards that were changed after they were
written, are refused.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import hashlib
import json
import os
import pathlib

import h5py
import keras
import numpy as np

import tfp_massmap
from tfp_massmap import io

_SHIPPED = pathlib.Path(__file__).parents[1] / "pretrained"
_FORMAT = 1  # Raised when a card changes so that earlier versions cannot read it.


def shipped(kind: str) -> list[str]:
  """Returns the names of the networks of a kind that ship with the package."""
  cards = {path.stem: path for path in _SHIPPED.glob("*.json")}
  return sorted(name for name, path in cards.items() if _kind(path) == kind)


def save(
  path: str | os.PathLike,
  network: keras.Model,
  *,
  card: Mapping,
  overwrite: bool = False,
) -> None:
  """Writes a network and its card, for `find`.

  Args:
    path: Path of the two files, with either suffix or none.
    network: Keras model.
    card: Dict for JSON, with the `kind` of the network.
    overwrite: Whether existing files may be replaced.

  Raises:
    FileExistsError: If a file exists and `overwrite` is false.
  """
  card_path, weights_path = _paths(path)
  for file in (card_path, weights_path):
    io.check_writable(file, overwrite)
  weights_path.parent.mkdir(parents=True, exist_ok=True)
  # Keras insists on the suffix .weights.h5.
  stem = weights_path.name.removesuffix(".weights.h5")
  temporary = weights_path.with_name(f".{stem}_.weights.h5")
  try:
    network.save_weights(temporary)
    card = dict(
      card,
      format=_FORMAT,
      tfp_massmap=tfp_massmap.__version__,
      weights_sha256=_checksum(temporary),
    )
    rewrite_card(path, card)
    temporary.replace(weights_path)
  finally:
    temporary.unlink(missing_ok=True)


def rewrite_card(path: str | os.PathLike, card: Mapping) -> None:
  """Replaces the card of a network, with a new checksum; its weights stay.

  Args:
    path: Path of the two files, with either suffix or none.
    card: The whole card, a dict for JSON.
  """
  card_path, _ = _paths(path)
  card = {**card, "card_sha256": _card_checksum(card)}
  text = json.dumps(card, indent=1, allow_nan=False)
  with io.atomic_path(card_path, overwrite=True) as partial:
    pathlib.Path(partial).write_text(text, encoding="utf-8")


def compact(path: str | os.PathLike, *, bits: int = 10) -> None:
  """Rounds the weights of a network and compresses their file, to half the size.

  A relative rounding error of 2^-(bits + 1) is that of float16, over the range of
  float32. The card says so.

  Args:
    path: Path of the two files, with either suffix or none.
    bits: Bits of the mantissa that are kept, of 23.

  Raises:
    FileNotFoundError: If one of the two files is missing.
  """
  card_path, weights_path = _paths(path)
  card = json.loads(card_path.read_text(encoding="utf-8"))
  with io.atomic_path(weights_path, overwrite=True) as partial:
    with h5py.File(weights_path, "r") as source, h5py.File(partial, "w") as target:
      _copy_rounded(source, target, bits)
    checksum = _checksum(pathlib.Path(partial))
    rewrite_card(path, {**card, "weights_sha256": checksum, "mantissa_bits": bits})


def _copy_rounded(source, target, bits):
  """Copies groups, attributes and data sets; float32 values are rounded."""
  target.attrs.update(source.attrs)
  for name, item in source.items():
    if isinstance(item, h5py.Group):
      _copy_rounded(item, target.create_group(name), bits)
      continue
    values = item[()]
    if values.dtype == np.float32:
      values = _rounded(values, bits)
    options = dict(compression="gzip", shuffle=True) if item.size > 1 else {}
    target.create_dataset(name, data=values, **options).attrs.update(item.attrs)


def _rounded(values, bits):
  """Rounds float32 values to the nearest of a shorter mantissa."""
  mantissa, exponent = np.frexp(values)
  scale = np.float32(2.0 ** (bits + 1))
  return np.ldexp(np.round(mantissa * scale) / scale, exponent).astype(np.float32)


def find(
  path: str | os.PathLike, kind: str, *, needed: Iterable[str]
) -> tuple[dict, pathlib.Path]:
  """Checks the two files of a network.

  Args:
    path: Path of the card or the weights, or of both without suffix; or the name of a
      network that ships with the package.
    kind: Kind of the network, such as "prior".
    needed: Names that its card must have.

  Returns:
    `(card, weights_path)`.

  Raises:
    FileNotFoundError: If one of the two files is missing.
    ValueError: If the card cannot be read, was changed or is of another kind, or if the
      weights are not the card's.
  """
  card_path, weights_path = _paths(path)
  if not card_path.exists() and str(path) in shipped(kind):
    card_path, weights_path = _paths(_SHIPPED / path)
  for file in (card_path, weights_path):
    if not file.is_file():
      raise FileNotFoundError(
        f"There is no {file}; a {kind} is {card_path.name} and {weights_path.name}"
        f" together. The package has the {kind}s {shipped(kind)}."
      )
  card = _read_card(card_path, kind, needed)
  if _checksum(weights_path) != card["weights_sha256"]:
    raise ValueError(
      f"{weights_path} is not the file that {card_path.name} describes: its checksum"
      " differs. Get both again."
    )
  return card, weights_path


def _paths(path):
  text = str(path)
  for suffix in (".weights.h5", ".json"):
    text = text.removesuffix(suffix)
  return pathlib.Path(f"{text}.json"), pathlib.Path(f"{text}.weights.h5")


def _checksum(path):
  return hashlib.sha256(path.read_bytes()).hexdigest()


def _card_checksum(card):
  """Returns the checksum of all entries except itself, independent of their order."""
  content = {name: value for name, value in card.items() if name != "card_sha256"}
  return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _kind(path):
  return json.loads(path.read_text(encoding="utf-8")).get("kind")


def _read_card(path, kind, needed):
  try:
    card = json.loads(path.read_text(encoding="utf-8"))
  except (json.JSONDecodeError, UnicodeDecodeError) as error:
    raise ValueError(f"{path} is not the card of a {kind}: {error}.") from error
  needed = {*needed, "kind", "format", "weights_sha256", "card_sha256"}
  if not isinstance(card, dict) or not needed <= set(card):
    missing = sorted(needed - set(card)) if isinstance(card, dict) else sorted(needed)
    raise ValueError(f"{path} is not the card of a {kind}: it lacks {missing}.")
  if card["kind"] != kind:
    raise ValueError(f"{path} is the card of a {card['kind']}, not of a {kind}.")
  if card["format"] != _FORMAT:
    raise ValueError(
      f"{path} has format {card['format']}; this version of tfp_massmap reads"
      f" {_FORMAT}."
    )
  if card["card_sha256"] != _card_checksum(card):
    raise ValueError(
      f"{path} was changed after it was written: its checksum differs. Get it again."
    )
  return card
