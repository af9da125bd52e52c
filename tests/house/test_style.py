"""The rules of the code's house: sizes, circles, broad handlers, docstrings, and words that have one meaning."""

import ast
import io
import re
import statistics
import tokenize
from collections import defaultdict

import pytest

from tests.helpers.paths import ROOT, TESTS

PACKAGE = ROOT / "src/sayonce"
SOURCES = {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}
TREES = {name: ast.parse(text) for name, text in SOURCES.items()}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BROAD = {"Exception", "BaseException"}


def test_no_module_is_longer_than_400_lines():
    assert {name: lines for name, text in SOURCES.items() if (lines := text.count("\n")) > 400} == {}


def test_the_median_function_has_at_most_10_lines_and_nine_of_ten_at_most_30():
    lines = [
        node.end_lineno - node.lineno + 1
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, FUNCTIONS)
    ]
    assert statistics.median(lines) <= 10
    assert statistics.quantiles(lines, n=10)[-1] <= 30


def test_a_stores_failure_becomes_no_answer_in_one_place_only():
    broad = {name for name, tree in TREES.items() for node in ast.walk(tree) if swallows_everything(node)}
    # The other one turns a bug of ours into the API's own form of an error, and logs it.
    assert broad == {"cache/guard.py", "gateway/speech.py"}


def swallows_everything(node):
    """Whether a handler, or a ``suppress``, takes any exception and does not raise it again."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "suppress":
        return any(is_broad(each) for each in node.args)
    return isinstance(node, ast.ExceptHandler) and is_broad(node.type) and not raises_again(node)


def is_broad(caught):
    if isinstance(caught, ast.Tuple):
        return any(is_broad(each) for each in caught.elts)
    return caught is None or getattr(caught, "id", "") in BROAD


def raises_again(handler):
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


@pytest.mark.parametrize(
    ("code", "broad"),
    [
        ("try: f()\nexcept Exception: pass", True),
        ("try: f()\nexcept: pass", True),
        ("try: f()\nexcept (ValueError, BaseException): pass", True),
        ("with suppress(Exception): f()", True),
        ("with contextlib.suppress(OSError, Exception): f()", True),
        ("try: f()\nexcept Exception: raise", False),
        ("try: f()\nexcept (ValueError, OSError): pass", False),
        ("with suppress(OSError): f()", False),
    ],
)
def test_a_broad_handler_is_recognised_in_every_form(code, broad):
    assert any(swallows_everything(node) for node in ast.walk(ast.parse(code))) is broad


def imports():
    """Return the modules that each module imports, also for its types alone or within a function."""
    modules = {name_of(path) for path in SOURCES}
    found = defaultdict(set)
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sayonce"):
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                found[name_of(path)] |= (inner & modules) | ({node.module} if inner - modules else set())
            elif isinstance(node, ast.Import):
                found[name_of(path)] |= {alias.name for alias in node.names} & modules
    return found


def name_of(path):
    return ".".join(("sayonce", *path.removesuffix(".py").removesuffix("__init__").strip("/").split("/"))).rstrip(".")


def circles(arrows):
    """Return the modules that import themselves over others."""

    def reached(start):
        seen, waiting = set(), list(arrows.get(start, ()))
        while waiting:
            module = waiting.pop()
            if module not in seen:
                seen.add(module)
                waiting += arrows.get(module, ())
        return seen

    return sorted(module for module in arrows if module in reached(module))


def test_no_module_imports_itself_over_others_not_even_for_types():
    assert circles(imports()) == []


def test_a_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c"]


def docstrings(tree):
    """Yield every string that documents: of modules, classes, functions, and of attributes behind them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | FUNCTIONS[0] | FUNCTIONS[1]):
            for statement in node.body:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    yield str(statement.value.value)


def test_docstrings_name_the_actor_instead_of_who_or_whose():
    text = " ".join(docstring for tree in TREES.values() for docstring in docstrings(tree))
    assert len(re.findall(r"\b(?:who|whoever|whose)\b", text, re.IGNORECASE)) <= len(text.split()) / 1000


@pytest.mark.parametrize(
    "package",
    sorted(path.parent.relative_to(ROOT).as_posix() for root in (PACKAGE, TESTS) for path in root.rglob("__init__.py")),
)
def test_every_package_says_in_one_sentence_what_is_in_it(package):
    first = (ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text())) or "").splitlines()[:1]
    assert first
    assert first[0].endswith(".")


FORBIDDEN = {
    r"\b[Bb]ooks?\b": "table",
    r"\b_?[Pp]atience\b": "timeout_factor",
    r"\b_?[Pp]ipes\b|\bPipe\b": "MultiplexedConnection",
    r"\b\w*[Cc]oordinators?\b": "Leases, Records",
    r"\b[Pp]ortal\b": "the blocking facade",
    r"\b(?:[Rr]eference|[Vv]oice) clips?\b|\b(?:decode|voice_of)_clip\b": "reference",
    r"\bin vain\b|\bby the lot\b": "plain words",
    r"not asked for now": "circuit breaker opened",
    r"\btest_so_": "a name that can be understood alone",
}
"""Words that had another meaning, or none, by what is said instead; see ``docs/glossary.md``."""


def words_of(text):
    """Return the names, comments and docstrings of a module: what is said in code, without what is stored or sent."""
    kinds = (tokenize.NAME, tokenize.COMMENT)
    said = [token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type in kinds]
    return "\n".join([*said, *docstrings(ast.parse(text))])


SAID = {name: words_of(text) for name, text in SOURCES.items()}
TEST_NAMES = {
    path.relative_to(TESTS).as_posix(): "\n".join(
        re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    )
    for path in TESTS.rglob("test_*.py")
}


@pytest.mark.parametrize("word", FORBIDDEN)
def test_no_word_is_used_that_the_glossary_replaced(word):
    """Names of tables, keys and fields that are stored or sent stay as they are."""
    found = {path for path, text in (SAID | TEST_NAMES).items() if re.search(word, text)}
    assert found == set(), f"say {FORBIDDEN[word]}"


def test_benchmarks_and_tests_change_no_import_path():
    scripts = [*(ROOT / "bench").glob("*.py"), *TESTS.glob("unit/**/*.py"), *TESTS.glob("promises/*.py")]
    assert [
        path.name for path in scripts if re.search(r"^\s*sys\.path\.(insert|append)", path.read_text(), re.MULTILINE)
    ] == []
