"""Package metadata of tfp_massmap."""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent


# Only these folders of datasets/ are packages. The folder itself is not, because
# `datasets` is the import name of another project.
DATASETS = {
  f"tfp_massmap.datasets.{name}": f"datasets/{name}"
  for name in ("cosmos_shear", "halo_kappa", "kappatng_cosmos", "survey_kappa")
}


def read_version() -> str:
  text = (ROOT / "tfp_massmap" / "__init__.py").read_text(encoding="utf-8")
  found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
  if found is None:
    raise ValueError('tfp_massmap/__init__.py has no line __version__ = "...".')
  return found.group(1)


setuptools.setup(
  name="tfp_massmap",
  version=read_version(),
  description=(
    "Posterior samples of weak-lensing convergence maps with TensorFlow Probability"
  ),
  long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
  long_description_content_type="text/markdown",
  author="The tfp_massmap developers",
  license="MIT",
  license_files=["LICENSE"],
  keywords=[
    "astronomy",
    "cosmology",
    "weak lensing",
    "mass mapping",
    "Bayesian inference",
    "Markov chain Monte Carlo",
    "score matching",
    "diffusion models",
  ],
  packages=[
    *setuptools.find_packages(include=["tfp_massmap", "tfp_massmap.*"]),
    *DATASETS,
  ],
  package_dir=DATASETS,
  package_data={
    "tfp_massmap": ["py.typed"],
    "tfp_massmap.tables": ["*.ecsv", "*.npz"],
    "tfp_massmap.pretrained": ["*.json", "*.h5"],
    **{package: ["*.md", "*.bib", "*.txt", "*.tsv"] for package in DATASETS},
  },
  python_requires=">=3.11,<3.14",
  # `tests/oldest_versions.py` runs the tests with the oldest versions named here.
  install_requires=[
    "tensorflow>=2.20",
    "tensorflow-probability[tf]>=0.25",
    # TFP 0.25 imports distutils, which Python 3.12 took out of the standard
    # library and setuptools still supplies.
    "setuptools>=68; python_version >= '3.12'",
    "keras>=3.10",
    "tensorflow-datasets>=4.9.7",
    # tensorflow-datasets imports the next two and leaves them to others to declare;
    # TensorFlow before 2.20 does not allow this protobuf.
    "importlib_resources>=6.0",
    "protobuf>=6.31.1",
    "numpy>=1.26",
    "scipy>=1.11.1",
    "astropy>=6.0",
    "h5py>=3.11",
    "matplotlib>=3.8",
    "tqdm>=4.65",
  ],
  extras_require={
    "test": [
      "pytest>=8.0",
      "pytest-xdist>=3.5",
      "setuptools>=68",  # tests/test_wheel.py builds a wheel with them
      "wheel>=0.41",
      "lenspack>=1.0",
      "inference_gym>=0.0.4",
      "pandas>=2.1",
      "pyarrow>=14.0",
      "dill>=0.3.7",  # tensorflow_datasets.testing imports it
      "tarp>=0.1",
      "deprecation>=2.1",  # tarp imports it
    ],
    "lint": ["ruff>=0.17", "mypy>=2.0", "pre-commit>=4.0"],
    "parquet": ["pandas>=2.1", "pyarrow>=14.0"],
    "beam": ["apache-beam", "mlcroissant"],
    "tensorboard": ["tensorboard>=2.20"],
    "theory": ["pyccl"],
    "docs": ["sphinx", "myst-parser"],
    "gpu": ["tensorflow[and-cuda]>=2.20"],
  },
  entry_points={"console_scripts": ["tfp-massmap = tfp_massmap.cli:main"]},
  classifiers=[
    "Development Status :: 4 - Beta",
    "Environment :: Console",
    "Intended Audience :: Science/Research",
    "License :: OSI Approved :: MIT License",
    "Programming Language :: Python :: 3",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Programming Language :: Python :: 3.13",
    "Topic :: Scientific/Engineering :: Astronomy",
    "Topic :: Scientific/Engineering :: Physics",
    "Typing :: Typed",
  ],
)
