"""Maps of tfds data sets, by folder and by name."""

import numpy as np
import pytest

from tfp_massmap.datasets.halo_kappa import halo_kappa_dataset_builder as halo_kappa
from tfp_massmap.priors import from_dataset


def test_prepared_data_sets_are_read(tmp_path):
  config = halo_kappa.HaloKappaConfig(name="few", num_maps=(1, 2, 0), shape=(16, 16))
  builder = halo_kappa.Builder(data_dir=str(tmp_path), config=config)
  builder.download_and_prepare()
  found = from_dataset.open_dataset(builder.data_dir)
  maps, pixel_scale, metadata = from_dataset.read_maps(found)
  assert maps["train"].shape == (1, 16, 16) and maps["validation"].shape == (2, 16, 16)
  assert np.isfinite(maps["train"]).all()
  assert pixel_scale.to_value("arcmin") == metadata["pixel_scale_arcmin"]
  assert metadata["splits"] == dict(train=1, validation=2)
  assert metadata["dataset"] == "halo_kappa/few/1.0.0"


def test_names_of_no_data_set_are_refused(tmp_path):
  message = r"no dataset_info\.json in it.*halo_kappa"
  with pytest.raises(ValueError, match=message):
    from_dataset.open_dataset(tmp_path)
