"""Data sets for `tensorflow_datasets`.

Importing this package registers the builders `kappatng_cosmos`, `cosmos_shear` and
`halo_kappa`:

  import tensorflow_datasets as tfds
  import tfp_massmap.datasets
  tfds.load("halo_kappa", split="train")

Their folders lie in `datasets/` at the root of the repository, each with a README, and
are installed as sub-packages of this one. Prepared data need neither:
`tfds.builder_from_directory(path)` reads them.
"""

import importlib
import pathlib
import pkgutil

# In a checkout, or an editable install of one, the folders are not below this one.
_CHECKOUT = pathlib.Path(__file__).resolve().parents[2] / "datasets"
if (_CHECKOUT / "kappatng_cosmos").is_dir():
  __path__.append(str(_CHECKOUT))

__all__ = sorted({m.name for m in pkgutil.iter_modules(__path__) if m.ispkg})

for _name in __all__:
  importlib.import_module(f"{__name__}.{_name}.{_name}_dataset_builder")
