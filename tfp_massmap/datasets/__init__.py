"""Data sets for `tensorflow_datasets`.

Another data set NAME is a folder `datasets/NAME` at the root of the repository, with

  - `NAME_dataset_builder.py`: a `building.Config` and a `Builder` that derives from
    `building.PackagedBuilder`,
  - `__init__.py`, `README.md`, `CITATIONS.bib` and `TAGS.txt`, which tfds reads,
  - `NAME_dataset_builder_test.py`, with a small sample in `dummy_data/` if it
    downloads,

and its name in `DATASETS` of `setup.py`.

Importing this package registers the builders `kappatng_cosmos`, `cosmos_shear`,
`halo_kappa` and `survey_kappa`:

  import tensorflow_datasets as tfds
  import tfp_massmap.datasets
  tfds.load("halo_kappa", split="train")

The folders are installed as sub-packages of this one. Prepared data need neither:
`tfds.builder_from_directory(path)` reads them.
"""

import importlib
import pathlib
import pkgutil

# In a checkout, or an editable install of one, the folders are not below this one.
_CHECKOUT = pathlib.Path(__file__).resolve().parents[2] / "datasets"
if (_CHECKOUT / "kappatng_cosmos").is_dir():
  __path__.append(str(_CHECKOUT))

_NAMES = sorted({m.name for m in pkgutil.iter_modules(__path__) if m.ispkg})
__all__ = list(_NAMES)

for _name in _NAMES:
  importlib.import_module(f"{__name__}.{_name}.{_name}_dataset_builder")
