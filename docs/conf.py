"""Sphinx's configuration for ``make docs``: the pages of docs/ as they are, and an API reference from docstrings."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# Importing Airflow writes its configuration file, and logs that it reads it.
_AIRFLOW_HOME = tempfile.TemporaryDirectory(prefix="automl-docs-")
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME.name
logging.getLogger("airflow").setLevel(logging.WARNING)

from airflow_provider_automl import __version__  # noqa: E402  (the path is set above)

project = "airflow-provider-automl"
author = copyright = "The airflow-provider-automl authors"
version = release = __version__

# The source directory is the checkout, so that a link leads to the same page here and on GitHub.
root_doc = "README"
include_patterns = ["*.md", "docs/**"]
exclude_patterns = [".*", "airflow_provider_automl", "benchmarks", "build", "dags", "dist", "tests"]
#: The sidebar: captions and pages.
CONTENTS = {
    "Use": (
        "docs/quickstart", "docs/existing-deployment", "docs/connection", "docs/operators", "docs/measures",
        "docs/drift", "docs/models", "docs/engines", "docs/option-map",
    ),
    "Operate": ("docs/upgrading", "docs/security", "docs/benchmarks", "CHANGELOG"),
    "Reference": ("docs/reference/index",),
    "Develop": (
        "CONTRIBUTING", "docs/architecture", "docs/testing", "docs/adr/README", "Reporting a vulnerability <SECURITY>",
    ),
}  # fmt: skip

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 4
highlight_language = "text"

# A reference that leads nowhere fails the build. Other projects' documentation is not fetched: no links to their names.
nitpicky = True
_OTHERS = r"(airflow|collections|datetime|pathlib|pyarrow|sqlglot|typing)\..*|pa\.Table|DbApiHook|Path|timedelta"
nitpick_ignore_regex = [("py:.*", _OTHERS)]

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False


def _add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """Add the sidebar's tables of contents, which would be noise in the Markdown files on GitHub."""
    if page == root_doc:
        for caption, pages in CONTENTS.items():
            source[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""])
    elif page == "docs/adr/README":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n0*\n```\n"


def _link_short_names(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Element) -> Element | None:
    """Link an annotation that is a bare name: the name was imported for type checking only."""
    name, objects = node.get("reftarget", ""), env.domains.python_domain.objects
    found = [full for full in objects if full.endswith(f".{name}")]
    if node.get("refdomain") != "py" or "." in name or len(found) != 1:
        return None
    target = objects[found[0]]
    return make_refnode(app.builder, node["refdoc"], target.docname, target.node_id, text, found[0])


def _drop_return_type(app: Sphinx, domain: str, kind: str, content: Element) -> None:
    """``:returns:`` of an operator is what its task returns. Autodoc adds the return type of ``__init__``, None."""
    if kind == "class":
        for field in list(content.findall(lambda node: node.tagname == "field" and node[0].astext() == "rtype")):
            field.parent.remove(field)


def _add_index(app: Sphinx, exception: Exception | None) -> None:
    """Web servers look for ``index.html``."""
    if exception is None and app.builder.format == "html":
        shutil.copy(Path(app.outdir) / f"{root_doc}.html", Path(app.outdir) / "index.html")


def setup(app: Sphinx) -> None:
    """Register what is above."""
    app.connect("source-read", _add_contents)
    app.connect("missing-reference", _link_short_names)
    app.connect("object-description-transform", _drop_return_type, priority=900)
    app.connect("build-finished", _add_index)
