"""Packed streams: every document once an epoch, whatever the lanes, and exact resume inside a lot of documents."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, IterableDataset, load_dataset
from datasets.utils.logging import disable_progress_bar, enable_progress_bar

from modalities.text import packing
from modalities.text.packing import pack, packed_stream
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer
from trainers.stream import StreamOrder

DOCUMENTS, SHARDS, LENGTH = 60, 4, 16
NUMBERS = np.random.default_rng(0).integers(1, 20, DOCUMENTS)
TEXTS = [" ".join([f"n{i}"] * count) if i % 7 else " " for i, count in enumerate(NUMBERS)]
TOKENIZER: Any = build_tokenizer(TokenizerConfig(vocabulary=200), TEXTS, LENGTH)
Steps = list[list[tuple[bytes, int]]]


@pytest.fixture(autouse=True)
def small_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_LOT", 7)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> IterableDataset:
    folder: Path = tmp_path_factory.mktemp("shards")
    disable_progress_bar()
    for shard in range(SHARDS):
        rows = range(shard * DOCUMENTS // SHARDS, (shard + 1) * DOCUMENTS // SHARDS)
        columns = {"id": list(rows), "texts": [[TEXTS[i]] for i in rows], "label": [None] * len(rows)}
        Dataset.from_dict(columns | {"score": [0.0] * len(rows)}).to_parquet(str(folder / f"{shard}.parquet"))
    enable_progress_bar()
    return load_dataset("parquet", data_files=f"{folder}/*.parquet", split="train", streaming=True)


def steps_of(order: StreamOrder, start: int, stop: int) -> Steps:
    """Each step's rows, as bytes, with their seeds."""
    return [
        [
            (np.array([row[name] for name in sorted(row)]).tobytes(), int(seed))
            for row, seed in zip(*ticket, strict=True)
        ]
        for ticket in order.from_step(start, stop)
    ]


def words_of(rows: Any) -> Counter[int]:
    """How often each document's token occurs."""
    return Counter(i for row in rows for i in row["input_ids"] if i not in TOKENIZER.all_special_ids)


WANTED = words_of(pack(TEXTS, TOKENIZER, LENGTH))


@pytest.mark.parametrize("causal", [False, True])
def test_a_stream_has_the_tokens_of_its_documents(documents: IterableDataset, causal: bool) -> None:
    rows = list(packed_stream(documents, TOKENIZER, LENGTH, causal))
    assert words_of(rows) == WANTED
    assert set(rows[0]) == {"input_ids", "segments", "position_ids", "words"}
    first = pack(TEXTS[:7], TOKENIZER, LENGTH, causal)
    for name, values in first[0].items():
        assert np.array_equal(rows[0][name], values)  # type: ignore[arg-type]
    ends = [ids for row in rows for ids in row["input_ids"] if ids == TOKENIZER.eos_token_id]
    assert len(ends) >= sum(bool(text.strip()) for text in TEXTS)


@pytest.mark.parametrize("lanes", [1, 2, 4, 3])
def test_lanes_share_the_rows_of_an_epoch(documents: IterableDataset, lanes: int) -> None:
    order = StreamOrder(packed_stream(documents, TOKENIZER, LENGTH), 12, lanes, 5, 5, 0, 1)
    found: Counter[int] = Counter()
    for lane in order._lanes.values():
        taken = lane.take(1)
        while lane.state()["epoch"] == 0:
            found += words_of([taken[0][0]])
            taken = lane.take(1)
    assert found == WANTED


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_resume_is_exact_inside_a_lot(documents: IterableDataset, lanes: int) -> None:
    def order() -> StreamOrder:
        return StreamOrder(packed_stream(documents, TOKENIZER, LENGTH), 6, lanes, 5, 3, 0, 1)

    first = order()
    whole = steps_of(first, 0, 20)
    for stop in range(1, 19):
        again = order()
        again.restore(json.loads(json.dumps(first.state(stop))))
        assert steps_of(again, stop, stop + 1) == whole[stop : stop + 1]
    wrong = order()  # the broken twin: the position of another step
    wrong.restore(first.state(4))
    assert steps_of(wrong, 3, 4) != whole[3:4]


def test_two_processes_read_what_one_reads(documents: IterableDataset) -> None:
    stream = packed_stream(documents, TOKENIZER, LENGTH)
    alone = steps_of(StreamOrder(stream, 6, 2, 5, 3, 0, 1), 0, 8)
    halves = [steps_of(StreamOrder(stream, 6, 2, 5, 3, rank, 2), 0, 8) for rank in range(2)]
    assert [one + two for one, two in zip(*halves, strict=True)] == alone


def test_what_cannot_be_packed_is_refused_before_reading(documents: IterableDataset) -> None:
    with pytest.raises(ValueError, match=r"model\.length 2"):
        packed_stream(documents, TOKENIZER, 2)
