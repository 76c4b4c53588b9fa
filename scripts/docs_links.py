"""Hook of mkdocs: a link from the docs to the code becomes the name of the file, which must exist.

The docs are read in the repository too, where these links lead to files that a site does not have.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[([^\]]*)\]\((?P<path>(?:\.\./)+[^)#\s]*)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace the links of one page.

    Raises:
        FileNotFoundError: If one leads nowhere.
    """
    folder = (ROOT / "docs" / page.file.src_uri).parent

    def replace(link: re.Match[str]) -> str:
        target = (folder / link["path"]).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return link.group()
        if not target.exists():
            raise FileNotFoundError(
                f"docs/{page.file.src_uri} links to {link['path']}, which is not in the repository."
            )
        text, name = link[1], str(target.relative_to(ROOT))
        return f"`{name}`" if text.strip("`/") in name else f"{text} (`{name}`)"

    return LINK.sub(replace, markdown)
