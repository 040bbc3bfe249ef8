"""What a stranger gets: a README that works on the package index, and an sdist that is complete."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import refold_async

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCE = PYPROJECT["project"]["urls"]["Source"]


def readme_on_the_index() -> str:
    text = (ROOT / "README.md").read_text()
    for rule in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    return text


def test_every_link_and_image_of_the_readme_is_absolute_on_the_package_index() -> None:
    targets = re.findall(r"\]\(([^)#][^)]*)\)|(?:src|srcset|href)=\"([^\"]+)\"", readme_on_the_index())
    assert targets
    relative = [target for pair in targets for target in pair if target and not target.startswith("https://")]
    assert not relative


def test_every_link_of_the_readme_into_the_repository_names_a_file_that_is_there() -> None:
    owner = SOURCE.removeprefix("https://github.com/")
    pattern = rf"https://(?:github\.com|raw\.githubusercontent\.com)/{owner}/(?:blob/)?main/([^)\"#\s]+)"
    paths = re.findall(pattern, readme_on_the_index())
    assert "docs/tutorial.md" in paths
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_all_project_urls_are_of_one_repository() -> None:
    owner, name = SOURCE.removeprefix("https://github.com/").split("/")
    for url in PYPROJECT["project"]["urls"].values():
        assert url.startswith((SOURCE, f"https://{owner}.github.io/{name}/"))


def test_the_version_has_an_entry_in_the_changelog_unless_it_is_not_released_yet() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [re.fullmatch(r"(\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)", heading) for heading in headings[1:]]
    assert headings[0] == "Unreleased"
    assert released
    assert all(released)
    version, _, dev = refold_async.__version__.partition(".dev")
    assert (version in {match[1] for match in released if match}) != bool(dev)


def test_no_badge_and_no_link_leads_to_a_package_registry() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    assert not [page.name for page in pages if re.search(r"pypi\.org|pythonhosted", page.read_text())]


def test_the_files_that_contributing_names_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*|\w+\.py)`", text))
    assert "policies/verdict.py" in named
    missing = [name for name in named if not (ROOT / name).exists() and not (ROOT / "refold_async" / name).exists()]
    assert not sorted(missing)
