"""The rules of CONTRIBUTING.md that a linter does not know."""

import ast
import io
import pathlib
import re
import tokenize

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "tfp_massmap").rglob("*.py"))
SOURCES = {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8") for p in FILES}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

MOST_LINES = 50
MOST_PROBES = 3

# Methods whose signature is that of Keras or TFP.
OVERRIDES = {
  "bootstrap_results",
  "build",
  "call",
  "compute_output_shape",
  "normalized_weights",
  "one_step",
  "update_step",
}

# A docstring is a sentence about the function, not the end of one.
FRAGMENTS = ("Of ", "That ", "What ", "Whether ", "Where ", "How ", "Who ")


def _functions(name):
  """Yields each function of a file with its class, and whether it is public."""

  def visit(body, owner, public):
    for node in body:
      if isinstance(node, ast.ClassDef):
        yield from visit(node.body, node, public and not node.name.startswith("_"))
      elif isinstance(node, ast.FunctionDef):
        own = not node.name.startswith("_") or node.name == "__init__"
        yield node, owner, public and own
        yield from visit(node.body, None, False)

  yield from visit(ast.parse(SOURCES[name]).body, None, True)


def _lines_of_code(source, node):
  """Number of lines without blanks, comments and the docstring."""
  docstring = range(0)
  if ast.get_docstring(node) is not None:
    docstring = range(node.body[0].lineno, node.body[0].end_lineno + 1)
  lines = source.splitlines()
  return sum(
    1
    for number in range(node.lineno, node.end_lineno + 1)
    if number not in docstring and not re.match(r"\s*(#|$)", lines[number - 1])
  )


@pytest.mark.parametrize("name", SOURCES)
def test_functions_do_one_thing(name):
  """50 lines of code are enough, but for tables of options."""
  for node, _, _ in _functions(name):
    if name == "tfp_massmap/cli/arguments.py":
      continue
    length = _lines_of_code(SOURCES[name], node)
    assert length <= MOST_LINES, f"{name}: {node.name} has {length} lines of code"


@pytest.mark.parametrize("name", SOURCES)
def test_public_functions_have_types_and_named_arguments(name):
  """All arguments and results are typed; what follows the second argument is named."""
  for node, owner, public in _functions(name):
    if not public or node.name in OVERRIDES:
      continue
    arguments = node.args.posonlyargs + node.args.args
    decorators = [ast.unparse(d) for d in node.decorator_list]
    if owner is not None and "staticmethod" not in decorators:
      arguments = arguments[1:]
    assert len(arguments) <= 2, f"{name}: {node.name} has {len(arguments)} positional"
    untyped = [a.arg for a in arguments + node.args.kwonlyargs if a.annotation is None]
    assert not untyped, f"{name}: {node.name} has no type of {untyped}"
    assert node.returns is not None, f"{name}: {node.name} does not say what it returns"


def test_objects_are_not_asked_what_they_are():
  """A probe is a getattr or hasattr with a literal name; `__getattr__` is none."""
  probes = []
  for name, source in SOURCES.items():
    for node in ast.walk(ast.parse(source)):
      if (
        isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("getattr", "hasattr")
        and isinstance(node.args[1], ast.Constant)
      ):
        probes.append(f"{name}:{node.lineno}: {ast.unparse(node)}")
  assert len(probes) <= MOST_PROBES, "\n".join(probes)


@pytest.mark.parametrize("name", SOURCES)
def test_docstrings_are_sentences(name):
  for node in ast.walk(ast.parse(SOURCES[name])):
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
      text = ast.get_docstring(node) or ""
      assert not text.startswith(FRAGMENTS), f"{name}: {text.splitlines()[0]}"


def _prose(source):
  """Comments and texts of a Python file."""
  tokens = tokenize.generate_tokens(io.StringIO(source).readline)
  kinds = (tokenize.COMMENT, tokenize.STRING)
  return "\n".join(token.string for token in tokens if token.type in kinds)


@pytest.mark.parametrize("name", [*SOURCES, *(str(p.relative_to(ROOT)) for p in PAGES)])
def test_numbers_have_leading_zeros_and_the_paper_a_name(name):
  text = (ROOT / name).read_text(encoding="utf-8")
  if name.endswith(".py"):
    text = _prose(text)
  found = re.findall(r"(?<![\w.\[\]{}%:/\\*)])\.\d+", text)
  assert not found, f"{name}: {found}"
  assert "paper Eq" not in text, name
  assert "pylint" not in text and "pyformat" not in text, name
