"""How the pages become a site: `sphinx-build -c docs . build/docs`, from the root of the project.

The root is the source, and not this folder, so that the README and the changelog are pages like the others and every
link leads to where it leads in the repository.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sphinx.application import Sphinx

from ai_gateway import __version__

ROOT = Path(__file__).resolve().parent.parent


project = "django-ai-gateway"
author = "django-ai-gateway contributors"
version = release = __version__

extensions = ["myst_parser", "sphinx_copybutton"]
root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "docs/*.md"]

nitpicky = True
myst_heading_anchors = 4
copybutton_prompt_text = "$ "

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_sphinx = False


def copy_images(app: Sphinx, exception: Exception | None) -> None:
    """Copy the images that pages show in HTML of their own, one for light and one for dark themes, beside the pages."""
    if exception is None:
        shutil.copytree(ROOT / "docs/images", Path(app.outdir) / "docs" / "images", dirs_exist_ok=True)


def setup(app: Sphinx) -> None:
    """Have the images copied when the pages are there."""
    app.connect("build-finished", copy_images)
