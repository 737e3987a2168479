"""Hooks of mkdocs.yml: pages from outside this folder, and links that hold here and on the site.

README, the cards beside the methods and the other pages are read where they lie. A link on any page
is the path of a file, as a reader of the repository follows it; on the site it leads to that file's
page. What each room of the package offers is shown from docstrings.
"""

import ast
import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.exceptions import Abort
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mmseg_uda"
LINK = re.compile(r"(?<=\]\()([^)#:\s]+)")
NOTEBOOK_LINK = re.compile(r'(?<=href=")[\w./]+\.md(?=["#])')
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):(?=<code>)")


def _sources() -> dict[str, str]:
    """Pages of the site beside docs/ and the files that they are read from."""
    cards = sorted(path for path in PACKAGE.rglob("README.md"))
    return {
        "index.md": "README.md",
        "contents.md": "docs/README.md",
        "weights.md": "pretrained/README.md",
        "contributing.md": "CONTRIBUTING.md",
        "changelog.md": "CHANGELOG.md",
        **{f"cards/{path.parent.name}.md": path.relative_to(ROOT).as_posix() for path in cards},
    }


SOURCES = _sources()
PAGES = {source: page for page, source in SOURCES.items()}


def on_files(files, config):
    """Adds the pages that do not lie in docs/."""
    files.remove(files.get_file_from_path("README.md"))  # contents.md here
    for page, source in SOURCES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for init in sorted(PACKAGE.glob("*/__init__.py")):
        if text := _room_page(init.parent):
            files.append(File.generated(config, f"api/{init.parent.name}.md", content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns paths of files into paths of pages."""
    here = page.file.src_uri
    folder = PurePosixPath(SOURCES.get(here, f"docs/{here}")).parent

    def target(match: re.Match) -> str:
        source = os.path.normpath(folder / match[1])
        found = PAGES.get(source) or _page_of(source)
        return os.path.relpath(found, PurePosixPath(here).parent) if found else match[1]

    return LINK.sub(target, markdown)


def on_page_content(html, page, config, files):
    """Drops the roles of names in docstrings, and links what notebooks link.

    Raises:
        Abort: A notebook links a page that is not there; mkdocs looks at Markdown alone.
    """

    def target(match: re.Match) -> str:
        file = files.get_file_from_path(match[0])
        if file is None:
            raise Abort(f"{page.file.src_uri} links {match[0]}, which is no page.")
        return file.url_relative_to(page.file)

    return ROLE.sub("", NOTEBOOK_LINK.sub(target, html))


def _page_of(source: str) -> str | None:
    """The page of a file in docs/ or of a module."""
    parts = PurePosixPath(source).parts
    if parts[0] == "docs":
        return str(PurePosixPath(*parts[1:]))
    if parts[0] == PACKAGE.name and source.endswith(".py"):
        return f"api/{parts[1]}.md"
    return None


def _room_page(room: Path) -> str:
    """What a room offers, or what its parts offer; '' for a room that scripts alone use."""
    parts = [init.parent for init in sorted(room.glob("*/__init__.py")) if _offers(init)]
    offers = _offers(room / "__init__.py")
    if offers and not offers <= {part.name for part in parts}:
        parts = []  # they are offered by the room itself
    elif not parts:
        return ""
    page = f"# mmseg_uda.{room.name}\n\n::: mmseg_uda.{room.name}\n"
    for part in parts:
        name = f"mmseg_uda.{room.name}.{part.name}"
        page += f"\n## {name}\n\n::: {name}\n    options:\n      heading_level: 3\n"
    return page


def _offers(path: Path) -> set[str]:
    """``__all__`` of a module."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()
