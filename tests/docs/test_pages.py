"""Every snippet of the documentation runs, and prints what the page says that it prints.

On PyTorch, which needs no time to trace the many tiny networks of the pages; the first page, which
a new user tries first, on TensorFlow too.
"""

import doctest
import io
import re
import shlex
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import keras
import pytest
from click.testing import CliRunner

from tsfusion.cli import main

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.M | re.S)
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
# Beside the fits, which are tiny so that the pages run at all.
QUIET = ("On the validation tail the network", "calibrate: ", "A quantile at", "The quantiles")


def blocks(page):
    """Yield language, text and line of each fenced block."""
    text = (DOCS / page).read_text()
    for match in FENCE.finditer(text):
        indent, language, body = match.groups()
        body = "\n".join(line[len(indent) :] for line in body.splitlines()) + "\n"
        yield language, body, text[: match.start()].count("\n") + 2


def console(text):
    """Run the lines ``$ tsfusion ...`` as a shell would, and return what they print."""
    printed = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.startswith("$ "):
            command = shlex.split(line[2:])
            assert command[0] == "tsfusion", line
            done = CliRunner().invoke(main, command[1:])
            assert done.exit_code == 0, (line, done.output, done.exception)
            printed.append(done.stdout)
    return "".join(printed)


def runs(page):
    listed = list(blocks(page))
    return [language for language, _, _ in listed if language in ("python", "console")]


@pytest.mark.slow
@pytest.mark.backends
@pytest.mark.parametrize("page", [page for page in PAGES if runs(page)])
def test_the_snippets_of_a_page_run(page, tmp_path, monkeypatch):
    import matplotlib

    backend = keras.backend.backend()
    if backend != "torch" and (backend, page) != ("tensorflow", "index.md"):
        pytest.skip("the run on PyTorch has them")

    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__page__"}
    printed = None
    checker = doctest.OutputChecker()
    for language, text, line in blocks(page):
        if language == "python":
            # Line numbers of a traceback are those of the page.
            code = compile("\n" * (line - 1) + text, str(DOCS / page), "exec")
            out = io.StringIO()
            with redirect_stdout(out), warnings.catch_warnings():
                for begin in QUIET:
                    warnings.filterwarnings("ignore", begin)
                exec(code, namespace)
            printed = out.getvalue()
        elif language == "console":
            printed = console(text)
        elif language == "text" and printed is not None:
            assert checker.check_output(text, printed, FLAGS), (
                f"{page}, line {line}: expected\n{text}\nprinted\n{printed}"
            )
            printed = None


@pytest.mark.slow
@pytest.mark.backends
@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the run on PyTorch has it")
def test_the_first_lines_of_the_readme_run(capsys):
    python = (text for language, text, _ in blocks("../README.md") if language == "python")
    five, roles = next(python), next(python)
    assert len([line for line in five.splitlines() if line]) == 5
    namespace = {}
    for text in (five, roles):
        tiny = "(hidden_size=8, max_epochs=1, steps_per_epoch=2, verbose=0, "
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "On the validation tail the network")
            exec(text.replace("FusionForecaster(", f"FusionForecaster{tiny}"), namespace)
    assert "q0.9" in capsys.readouterr().out
    assert len(namespace["model"].forecast(namespace["future"])) == 20 * 28


def test_links_between_pages_lead_somewhere():
    for page in [DOCS.parent / "README.md", *DOCS.rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_page_is_listed():
    listed = set(re.findall(r"[\w/-]+\.md", (DOCS.parent / "mkdocs.yml").read_text()))
    assert listed == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}


def test_the_reference_names_every_public_object():
    import importlib

    named = "".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    listed = set(re.findall(r"^::: (\S+)$", named, re.M))
    modules = "data", "evaluation", "uncertainty", "components", "models", "plotting", "scale"
    for module in modules:
        module = importlib.import_module(f"tsfusion.{module}")
        missing = {f"{module.__name__}.{name}" for name in module.__all__} - listed
        assert not missing, sorted(missing)


def test_figures_are_those_of_the_benchmarks():
    measured = (DOCS.parent / "benchmarks" / "README.md").read_text()
    for _, text, line in blocks("benchmarks.md"):
        assert text in measured, f"benchmarks.md, line {line}"
