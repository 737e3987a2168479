"""The documentation as a site: every page, no warnings, nothing fetched from elsewhere."""

import re
from pathlib import Path

import pytest
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

ROOT = Path(__file__).parents[2]
SCRIPTS_ALONE = {"benchmarks", "commands", "experiments"}  # rooms without an interface for Python
ROOMS = {path.parent.name for path in (ROOT / "mmseg_uda").glob("*/__init__.py")} - SCRIPTS_ALONE
CARDS = sorted(path.parent.name for path in (ROOT / "mmseg_uda").rglob("README.md"))
# What a browser fetches with a page.
LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\ssrc=["']?([^"'\s>]+)"""
    r"""|<link\b(?![^>]*\srel="(?:canonical|next|prev)")[^>]*\shref=["']?([^"'\s>]+)"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a warning ends the build."""
    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(folder))
    config.plugins.run_event("startup", command="build", dirty=False)
    build(config)
    config.plugins.run_event("shutdown")
    return folder


def test_every_page_card_and_room_is_there(site):
    pages = [path.stem for path in (ROOT / "docs").glob("*.*") if path.suffix in (".md", ".ipynb")]
    pages.remove("README")
    expected = [f"{page}.html" for page in (*pages, "index", "contents", "changelog")]
    expected += [f"cards/{card}.html" for card in CARDS]
    expected += [f"api/{room}.html" for room in ROOMS]
    assert [page for page in expected if not (site / page).is_file()] == []
    home = (site / "index.html").read_text(encoding="utf-8")
    assert [page for page in expected if f'href="{page}"' not in home] == []


def test_pages_show_docstrings(site):
    page = (site / "api/self_training.html").read_text(encoding="utf-8")
    assert 'id="mmseg_uda.self_training.Component.refine_weights"' in page
    methods = (site / "api/methods.html").read_text(encoding="utf-8")
    assert 'id="mmseg_uda.methods.mic.MaskedConsistency"' in methods
    assert not re.search(r":(class|func|meth):", page + methods)


def test_links_to_files_lead_to_their_pages(site):
    card = (site / "cards/daformer.html").read_text(encoding="utf-8")
    assert 'href="../api/self_training.html"' in card
    assert 'href="../original_commands.html"' in card
    home = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="cards/segmentors.html"' in home
    tutorial = (site / "tutorial.html").read_text(encoding="utf-8")
    assert (
        'href="data.html#camvid"' in tutorial and 'id="camvid"' in (site / "data.html").read_text()
    )


def test_no_link_leads_to_a_source(site):
    for page in site.rglob("*.html"):
        links = re.findall(r'href="([^"]*)"', page.read_text(encoding="utf-8"))
        inner = [link for link in links if not link.startswith(("http", "mailto"))]
        assert not [link for link in inner if re.search(r"\.md(#|$)|README", link)], page


def test_nothing_is_fetched_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = [a or b for a, b in LOADED.findall(page.read_text(encoding="utf-8"))]
        assert loaded and not [at for at in loaded if re.match("(https?:)?//", at)], page
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", style.read_text()), style


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("[there](other.md#other)", False),
        ("[gone](gone.md)", True),
        ("[no such heading](other.md#gone)", True),
        ("[from the root](/other.md)", True),
        ("", True),  # other.md stands in no menu then
    ],
)
def test_a_broken_link_or_a_forgotten_page_ends_the_build(text, ends, tmp_path):
    ours = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    nav = ["index.md", "other.md"] if text else ["index.md"]
    settings = dict(site_name="small", nav=nav, plugins=[], validation=ours["validation"])
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(f"# Page\n\n{text}\n")
    (tmp_path / "docs/other.md").write_text("# Other\n")
    config = load_config(str(tmp_path / "mkdocs.yml"), strict=True)
    if ends:
        with pytest.raises(Abort):
            build(config)
    else:
        build(config)
