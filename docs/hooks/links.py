"""Pages and pictures from outside docs/ on the site, and links to them as the repository has them.

In the repository docs/speed.md links to ../experiments/README.md; on the site docs/ is the root, so that page is at
experiments/README.md and the link loses its "../". Links that lead nowhere are left as they are, and fail the build.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
OUTSIDE = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "experiments/*.md",
    "experiments/results/*",
    "examples/*.md",
    "examples/*.py",
]
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)#\s]+)")


def on_files(files: Any, config: Any) -> Any:
    for path in sorted(found for pattern in OUTSIDE for found in ROOT.glob(pattern)):
        source = path.relative_to(ROOT).as_posix()
        files.append(File(source, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Every link to a file of the site, from where the page is on the site."""
    source = page.file.src_uri
    in_docs = (Path(config.docs_dir) / source).exists()
    folder = posixpath.dirname(f"docs/{source}" if in_docs else source)

    def on_site(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[1])).removeprefix("docs/")
        known = files.get_file_from_path(target)
        return posixpath.relpath(target, posixpath.dirname(source) or ".") if known else link[1]

    return LINK.sub(on_site, markdown)
