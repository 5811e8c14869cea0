"""The documentation names files, commands, options and members that exist."""

import importlib
import pathlib
import pkgutil
import re

import pytest

import tfp_massmap
from tfp_massmap.cli import arguments

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = sorted(
  [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("datasets/*/README.md")]
)
SCRIPTS = {
  path.name
  for folder in ("examples", "tests")
  for path in ROOT.glob(f"{folder}/**/*.py")
}
MODULES = {module.name for module in pkgutil.iter_modules(tfp_massmap.__path__)}
README = (ROOT / "README.md").read_text(encoding="utf-8")


def read(path):
  return path.read_text(encoding="utf-8")


def resolve(name):
  """Returns the object of a dotted name in tfp_massmap; raises if there is none."""
  found = tfp_massmap
  path = "tfp_massmap"
  for part in name.split("."):
    path = f"{path}.{part}"
    try:
      found = importlib.import_module(path)
    except ImportError:
      fields = getattr(found, "__dataclass_fields__", {})
      found = fields[part] if part in fields else getattr(found, part)
  return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
  text = read(page)
  for link in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
    target, _, heading = (link[0] or link[1]).partition("#")
    if target.startswith(("http://", "https://")):
      continue
    path = (page.parent / target).resolve() if target else page
    assert path.exists(), f"{page.name}: {target}"
    if heading:
      titles = re.findall(r"^#+ (.*)$", read(path), re.MULTILINE)
      anchors = [re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles]
      assert heading in anchors, f"{page.name}: {target}#{heading}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_scripts_exist(page):
  text = read(page)
  for name in re.findall(r"(?:examples|tests|docs)/[\w./+-]+\.\w+", text):
    assert (ROOT / name.rstrip(".")).exists(), f"{page.name}: {name}"
  for name in re.findall(r"(?<![\w/<>])(\w+\.py)\b", text):
    known = name in SCRIPTS or any((ROOT / "tfp_massmap").glob(f"**/{name}"))
    assert known or (ROOT / name).exists(), f"{page.name}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_members_exist(page):
  """Checks names such as `priors.Prior` in backticks."""
  for name in re.findall(r"`([a-z_]+(?:\.\w+)+)(?:\(|`)", read(page)):
    first, last = name.split(".")[0], name.split(".")[-1]
    if first in MODULES and last not in ("py", "json", "md", "fits", "npz", "png"):
      resolve(name)


def test_named_options_exist(capsys):
  for command in ("calibrate", "demo", "reconstruct", "train"):
    with pytest.raises(SystemExit):
      arguments.parse([command, "--help"])
  known = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", capsys.readouterr().out))
  assert "--drop-invalid" in known
  for line in README.splitlines():
    if "tfp-massmap" in line or re.search(r"`--", line):
      for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", line):
        assert option in known | {"--data"}, option


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_options_of_scripts_exist(page):
  """Checks commands such as `sweeps.py --full`, or those after `python` on a line."""
  text = read(page)
  commands = [*re.findall(r"`([^`\n]*\.py[^`\n]*)`", text)]
  commands += re.findall(r"^(?:\.venv/bin/)?python (\S+\.py.*)$", text, re.MULTILINE)
  for command in commands:
    script = re.search(r"(\w+)\.py", command)
    if script is None:  # A pattern such as test_<module>.py.
      continue
    paths = [*(ROOT / "examples").rglob(f"{script[1]}*.py")]
    source = "".join(read(path) for path in paths)
    for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", command.split("#")[0]):
      name = option[2:].replace("-", "_")  # Options of dataclasses have their names.
      assert f'"{option}"' in source or name in source, f"{page.name}: {command}"


def test_constants_of_the_method_exist():
  """Each table of constants in docs/method.md has the files of its title."""
  tables = re.split(
    r"^\*\*(?=`)", read(ROOT / "docs" / "method.md"), flags=re.MULTILINE
  )
  num_found = 0
  for table in tables[1:]:
    title = table.split("**")[0]
    files = [p for name in re.findall(r"`([\w/]+\.py)`", title) for p in [name]]
    modules = [resolve(f[:-3].replace("/", ".")) for f in files]
    if "priors.SamplerConstants" in title:
      modules = [resolve("priors.SamplerConstants")]
    if not modules:
      continue
    for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE):
      for name in re.findall(r"`(\w+)`", row.split(":")[0] if "finish" in row else row):
        places = [*modules, *(v for m in modules for v in vars(m).values())]
        fields = [getattr(p, "__dataclass_fields__", {}) for p in places]
        known = any(hasattr(m, name) for m in modules)
        assert known or any(name in f for f in fields), f"{title}: {name}"
        num_found += 1
  assert num_found > 35


def test_readme_is_short_and_its_python_compiles():
  assert len(README.splitlines()) <= 150
  blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
  assert len(blocks) >= 3
  for block in blocks:
    compile(block, "README.md", "exec")


def test_readme_kernel_runs():
  blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
  (block,) = [b for b in blocks if "ScoreHamiltonianMonteCarlo" in b]
  names = {}
  exec(compile(block, "README.md", "exec"), names)
  samples = names["samples"].numpy()[100:]
  assert samples.shape == (900, 16, 10)
  # 144,000 correlated draws of a standard normal.
  assert abs(samples.std() - 1) < 0.03
