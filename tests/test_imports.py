"""The layer rule, and what importing must not load."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "tfp_massmap"

# A module may import only what stands in an earlier row; types may come from anywhere.
LAYERS = [
  {"geometry", "latin_hypercube"},
  {"io", "lensing", "theory", "wavelets", "devices"},
  {"spectra"},
  {"shear_map", "map_statistics", "resumable", "gaussian_posterior"},
  {"likelihood", "catalog", "shear_errors", "sign_check", "simulate"},
  {"datasets"},
  {"mcmc"},
  {"nn"},
  {"priors"},
  {"power_estimation", "posterior"},
  {"samplers", "baselines"},
  {"summary", "plot", "detection", "calibration"},
  {"cosmology_inference", "prior_choice"},
  {"batch_posteriors"},
  {"reconstruction"},
  {"cli"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
STANDALONE = {"__init__", "pretrained", "tables"}


def _without_types(body):
  """Statements of a module, less those for type checkers alone."""
  for node in body:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
      continue
    yield node


def _imports(path):
  """Top-level modules of the package that a file imports when it runs."""
  found = set()
  tree = ast.parse(path.read_text(encoding="utf-8"))
  for statement in _without_types(tree.body):
    for node in ast.walk(statement):
      if isinstance(node, ast.ImportFrom) and node.module:
        words = node.module.split(".")
        if words[0] == "tfp_massmap":
          found |= {words[1]} if len(words) > 1 else {a.name for a in node.names}
      elif isinstance(node, ast.Import):
        for alias in node.names:
          words = alias.name.split(".")
          if words[0] == "tfp_massmap" and len(words) > 1:
            found.add(words[1])
  return found


def _module(path):
  return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize(
  "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_modules_import_only_what_stands_before_them(path):
  module = _module(path)
  if module in STANDALONE:
    return
  assert module in RANK, f"{module} has no layer: add it to LAYERS"
  for other in _imports(path) - {module}:
    assert RANK[other] < RANK[module], f"{module} must not import {other}"


def test_kernels_know_only_tensorflow_tfp_and_numpy():
  allowed = {"tensorflow", "tensorflow_probability", "numpy", *sys.stdlib_module_names}
  for path in (PACKAGE / "mcmc").glob("*.py"):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
      names = []
      if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
      elif isinstance(node, ast.ImportFrom):
        names = [node.module]
      for name in names:
        root = name.partition(".")[0]
        assert root in allowed or name.startswith("tfp_massmap.mcmc"), (path, name)


def test_import_is_light():
  code = (
    "import sys, tfp_massmap;"
    "print([m for m in ('matplotlib', 'tensorflow_datasets', 'astropy',"
    " 'tensorflow') if m in sys.modules])"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert result.stdout.strip() == "[]"


def test_names_load_on_demand():
  import tfp_massmap

  for name in tfp_massmap.__all__:
    assert getattr(tfp_massmap, name)
  there = {p.stem for p in PACKAGE.glob("[a-z]*.py")}
  there |= {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
  assert there - {"cli", "pretrained", "tables"} <= set(tfp_massmap.__all__)
  names = {"ShearMap", "Posterior", "GaussianPrior", "HybridPrior", "read_catalogue"}
  assert names | {"reconstruct", "sample", "__version__"} <= set(tfp_massmap.__all__)
  with pytest.raises(AttributeError, match="no attribute 'nothing'"):
    _ = tfp_massmap.nothing
