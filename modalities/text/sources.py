"""Where texts come from: what packages carry, or any table."""

from collections.abc import Callable
from dataclasses import dataclass

from modalities.text import bible, lee, polarity, standard_library, wikipedia
from modalities.text.config import DataConfig
from modalities.text.load import hold_out, load_table
from modalities.text.rows import Rows, TextSet, fingerprint, joined_rows


@dataclass(frozen=True)
class _BuiltIn:
    read: Callable[[], tuple[Rows, dict[str, int]]]
    """The rows, and how many were left out by cause."""
    licence: str
    credit: str
    roles: tuple[str, ...] = ("text",)
    classes: tuple[str, ...] = ()


def _whole(read: Callable[[], Rows]) -> Callable[[], tuple[Rows, dict[str, int]]]:
    return lambda: (read(), {})


_BUILT_IN = {
    "wikipedia": _BuiltIn(wikipedia.counted, wikipedia.LICENCE, wikipedia.CREDIT),
    "lee": _BuiltIn(_whole(lee.news), lee.LICENCE, lee.CREDIT),
    "bible": _BuiltIn(_whole(bible.chapters), bible.LICENCE, bible.CREDIT, classes=tuple(bible.GROUPS)),
    "polarity": _BuiltIn(_whole(polarity.sentences), polarity.LICENCE, polarity.CREDIT, classes=polarity.CLASSES),
    "verses": _BuiltIn(bible.counted_translations, bible.LICENCE, bible.CREDIT, ("web", "asv"), tuple(bible.GROUPS)),
    "standard-library": _BuiltIn(
        standard_library.counted, standard_library.LICENCE, standard_library.CREDIT, ("docstring", "code")
    ),
}
_JOINED = ("wikipedia", "lee", "bible")


def built_in(source: str) -> bool:
    """Whether packages carry what `data.source` names, so that nobody chose its columns."""
    return bool({name.strip() for name in source.split(",")} & set(_BUILT_IN))


def load(config: DataConfig) -> TextSet:
    """Reads, checks and splits the data by document.

    Several built-in sets joined by commas are split as one, and have no labels: those of one mean nothing to another.
    Raises ValueError, in one sentence that names what to change, for whatever cannot be read: a missing path, column
    or package, cells of the wrong type, too many unusable rows, nothing left to train on.
    """
    names = [name.strip() for name in config.source.split(",")]
    if names == [""]:
        raise ValueError("data.source is empty: name a Hub data set, a folder or a file.")
    if not built_in(config.source):
        return load_table(config)
    if len(names) > 1 and (not set(names) <= set(_JOINED) or len(set(names)) < len(names)):
        raise ValueError(f"data.source={config.source} joins what cannot be: only {', '.join(_JOINED)}, each once.")
    if config.stream or config.test_split:
        raise ValueError(
            f"data.source={config.source} is neither streamed nor split in files: drop data.stream and data.test_split."
        )
    if (
        config.text_column != "text"
        or config.id_column
        or config.score_column
        or config.label_column not in ("", "auto")
    ):
        raise ValueError(f"data.source={config.source} has no columns to choose: leave the options of columns alone.")
    return _built_in(config, [_BUILT_IN[name] for name in names])


def _built_in(config: DataConfig, parts: list[_BuiltIn]) -> TextSet:
    first = parts[0]
    found = [part.read() for part in parts]
    rows = found[0][0] if len(parts) == 1 else joined_rows([some for some, _ in found])
    dropped = {cause: count for _, counts in found for cause, count in counts.items()}
    classes = list(first.classes) if len(parts) == 1 else []
    train_side, test_side = hold_out(rows.documents, config)
    train, test = rows.select(train_side), rows.select(test_side)
    licences = list(dict.fromkeys(part.licence for part in parts))
    return TextSet(
        name=config.source,
        train=train,
        test=test,
        roles=list(first.roles),
        classes=classes,
        licence=licences[0] if len(licences) == 1 else "other",
        credit=" ".join(dict.fromkeys(part.credit for part in parts)),
        fingerprint=fingerprint(train, test, classes),
        counts={
            "rows": len(rows) + sum(dropped.values()),
            "repeated": len(rows) - len(set(map(tuple, rows.texts))),
            "dropped": dropped,
            "train": len(train),
            "test": len(test),
        },
    )
