"""Package metadata of tfp_massmap."""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent


# Only these folders of datasets/ are packages: `datasets` itself is a name of others.
DATASETS = {
  f"tfp_massmap.datasets.{name}": f"datasets/{name}"
  for name in ("cosmos_shear", "halo_kappa", "kappatng_cosmos")
}


def read_version():
  text = (ROOT / "tfp_massmap" / "__init__.py").read_text(encoding="utf-8")
  return re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE).group(1)


setuptools.setup(
  name="tfp_massmap",
  version=read_version(),
  description=(
    "Posterior samples of weak-lensing convergence maps with TensorFlow Probability"
  ),
  long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
  long_description_content_type="text/markdown",
  license="MIT",
  packages=[
    *setuptools.find_packages(include=["tfp_massmap", "tfp_massmap.*"]),
    *DATASETS,
  ],
  package_dir=DATASETS,
  package_data={
    "tfp_massmap.tables": ["*.ecsv", "*.npz"],
    "tfp_massmap.pretrained": ["*.json", "*.h5"],
    **{package: ["*.md", "*.bib", "*.txt", "*.tsv"] for package in DATASETS},
  },
  python_requires=">=3.11,<3.14",
  install_requires=[
    "tensorflow>=2.18",
    "tensorflow-probability[tf]>=0.25",
    # TFP 0.25 imports distutils, which Python 3.12 took out of the standard
    # library and setuptools still supplies.
    "setuptools; python_version >= '3.12'",
    "keras>=3",
    "tensorflow-datasets",
    "importlib_resources",
    "numpy",
    "scipy",
    "astropy>=6",
    "h5py",
    "matplotlib",
    "tqdm",
  ],
  extras_require={
    "test": [
      "pytest",
      "pytest-xdist",
      "lenspack",
      "inference_gym",
      "pandas",
      "pyarrow",
      "dill",  # tensorflow_datasets.testing imports it
      "tarp",
      "deprecation",  # tarp imports it
    ],
    "parquet": ["pandas", "pyarrow"],
    "beam": ["apache-beam", "mlcroissant"],
    "tensorboard": ["tensorboard"],
    "theory": ["pyccl"],
    "docs": ["sphinx", "myst-parser"],
    "gpu": ["tensorflow[and-cuda]"],
  },
  entry_points={"console_scripts": ["tfp-massmap = tfp_massmap.cli:main"]},
  classifiers=[
    "License :: OSI Approved :: MIT License",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Programming Language :: Python :: 3.13",
    "Topic :: Scientific/Engineering :: Astronomy",
  ],
)
