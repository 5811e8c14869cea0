"""Networks on disk: what is written comes back, and what was changed is refused."""

import json

import keras
import numpy as np
import pytest

from tfp_massmap.nn import network_file


def _network(seed=1):
  keras.utils.set_random_seed(seed)
  return keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])


@pytest.fixture(name="path")
def _path(tmp_path):
  path = tmp_path / "folder" / "net"
  network_file.save(path, _network(), card=dict(kind="toy", numbers=[1, 2]))
  return path


def test_networks_come_back_by_any_of_their_names(path):
  for suffix in ("", ".json", ".weights.h5"):
    card, weights_path = network_file.find(
      f"{path}{suffix}", "toy", needed=("numbers",)
    )
    assert card["numbers"] == [1, 2] and weights_path.name == "net.weights.h5"
  network = _network(seed=2)
  network.load_weights(weights_path)
  for one, other in zip(network.weights, _network().weights):
    np.testing.assert_array_equal(one, other)


def test_files_are_replaced_on_demand_alone(path):
  with pytest.raises(FileExistsError):
    network_file.save(path, _network(2), card=dict(kind="toy"))
  network_file.save(path, _network(2), card=dict(kind="toy"), overwrite=True)
  assert "numbers" not in network_file.find(path, "toy", needed=())[0]
  assert sorted(p.name for p in path.parent.iterdir()) == ["net.json", "net.weights.h5"]


def test_cards_can_be_rewritten(path):
  card, _ = network_file.find(path, "toy", needed=())
  network_file.rewrite_card(path, {**card, "numbers": [3]})
  again, _ = network_file.find(path, "toy", needed=())
  assert again["numbers"] == [3] and again["card_sha256"] != card["card_sha256"]


def test_compact_files_hold_rounded_weights(tmp_path):
  """A relative error of 2^-11 at most, and 70 % of the size or less."""
  keras.utils.set_random_seed(1)
  network = keras.Sequential([keras.Input([64]), keras.layers.Dense(256)])
  path = tmp_path / "net"
  network_file.save(path, network, card=dict(kind="toy"))
  size = path.with_suffix(".weights.h5").stat().st_size
  network_file.compact(path)
  card, weights_path = network_file.find(path, "toy", needed=("mantissa_bits",))
  assert card["mantissa_bits"] == 10 and weights_path.stat().st_size < 0.7 * size
  exact = network.get_weights()
  network.load_weights(weights_path)
  rounded = network.get_weights()
  assert np.abs(rounded[0] - exact[0]).max() > 0
  for one, other in zip(exact, rounded):
    np.testing.assert_allclose(other, one, rtol=2.0**-11, atol=0)
  network_file.compact(path)  # Rounding again changes nothing.
  network.load_weights(weights_path)
  for one, other in zip(rounded, network.get_weights()):
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
  "change, message",
  [
    (lambda text: "{", "not the card"),
    (lambda text: "{}", "lacks"),
    (lambda text: "[]", "lacks"),
    (lambda text: text.replace('"format": 1', '"format": 9'), "format 9"),
    (lambda text: text.replace("toy", "game"), "card of a game, not of a toy"),
    (lambda text: text.replace("  2\n", "  3\n"), r"net\.json was changed"),
  ],
)
def test_changed_cards_are_refused(path, change, message):
  card = path.with_suffix(".json")
  card.write_text(change(card.read_text()))
  with pytest.raises(ValueError, match=message):
    network_file.find(path, "toy", needed=())


def test_cards_may_be_laid_out_anew(path):
  card = path.with_suffix(".json")
  card.write_text(json.dumps(json.loads(card.read_text()), indent=4, sort_keys=True))
  assert network_file.find(path, "toy", needed=())[0]["numbers"] == [1, 2]


def test_missing_and_other_weights_are_refused(path):
  weights = path.with_name("net.weights.h5")
  weights.write_bytes(weights.read_bytes()[:-1] + b"!")
  with pytest.raises(ValueError, match="checksum"):
    network_file.find(path, "toy", needed=())
  weights.unlink()
  with pytest.raises(FileNotFoundError, match=r"net\.weights\.h5 together"):
    network_file.find(path, "toy", needed=())


def test_names_that_ship():
  assert "cosmos-halo" in network_file.shipped("prior")
  assert network_file.shipped("deepmass") == ["cosmos-deepmass"]
  card, _ = network_file.find("cosmos-halo", "prior", needed=())
  assert card["kind"] == "prior"
