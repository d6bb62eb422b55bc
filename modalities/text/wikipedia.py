"""103 articles of the English Wikipedia of May 2016, as `gensim` carries them, stripped of markup."""

import bz2
import html
import re

from modalities.packages import package_folder
from modalities.text.markup import prose
from modalities.text.rows import Rows, documents

LICENCE = "cc-by-sa-3.0"
CREDIT = (
    "Articles of the English Wikipedia by its authors (https://en.wikipedia.org), dump of May 2016, as gensim carries "
    "them, CC BY-SA 3.0 and GFDL."
)
_FILE = "test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"


def articles() -> Rows:
    """One row per article; a paragraph is a line."""
    return counted()[0]


def counted() -> tuple[Rows, dict[str, int]]:
    """The articles, and how many pages were left out by cause."""
    file = package_folder("gensim", "wikipedia") / _FILE
    if not file.is_file():
        raise ValueError(f"The wikipedia data needs {file.name}, which this gensim lacks: upgrade it.")
    xml = bz2.decompress(file.read_bytes()).decode()
    pages = [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", xml)]
    found = [prose(text) for text in pages if text[:9].upper() != "#REDIRECT"]
    rows = documents(["\n".join(lines) for lines in found if lines])
    return rows, {"redirects": len(pages) - len(found), "pages without prose": len(found) - len(rows)}
