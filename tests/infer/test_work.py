"""What a job amounts to, and whether a GPU is worth starting for it."""

from pathlib import Path

from charlm.infer.planning.work import (
    SMALL_FILE,
    WORTH_CUDA_CHARACTERS,
    WORTH_CUDA_STREAMS,
    Work,
    count_prompts,
    provider_for,
    text_work,
)


def test_auto_leaves_a_gpu_alone_where_the_job_is_small() -> None:
    assert provider_for(Work(1, 0), "auto")[0] == "cpu"
    provider, why = provider_for(Work(WORTH_CUDA_STREAMS, 10), "auto")
    assert provider == "cpu"
    assert why is not None
    assert str(WORTH_CUDA_STREAMS) in why
    most = (WORTH_CUDA_CHARACTERS - 1) // WORTH_CUDA_STREAMS
    assert provider_for(Work(WORTH_CUDA_STREAMS, most), "auto")[0] == "cpu"
    assert provider_for(Work(WORTH_CUDA_STREAMS, most + 1), "auto") == ("auto", None)
    assert provider_for(Work(None), "auto") == ("auto", None)
    assert provider_for(Work(None, window=40), "auto")[0] == "cpu", "where windows are stepped"
    assert provider_for(Work(1, 1), "cuda") == ("cuda", None)
    assert provider_for(None, "auto") == ("auto", None)


def test_auto_goes_where_the_precision_is() -> None:
    for work in (None, Work(1, 1), Work(None)):
        assert provider_for(work, "auto", "int8")[0] == "cpu"
        assert provider_for(work, "auto", "fp16")[0] == "cuda"
        assert provider_for(work, "cuda", "int8") == ("cuda", None), "which is then refused"


def test_a_small_file_of_prompts_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("one\ntwo\nthree", encoding="utf-8")
    assert count_prompts(path) == 3
    path.write_text("one", encoding="utf-8")
    assert count_prompts(path) == 2, "a batch, however small"
    path.write_bytes(b"x\n" * SMALL_FILE)
    assert count_prompts(path) is None
    assert count_prompts(tmp_path / "absent.txt") is None
    assert count_prompts(Path("-")) is None


def test_texts_to_score_are_work_by_their_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_bytes(b"x" * 1000)
    two.write_bytes(b"x" * 3000)
    assert text_work([one, two], False) == Work(2, 2000)
    assert text_work([one], False) == Work(1, 1000)
    assert text_work([one, Path("-")], False) == Work(2, 0)
    cut = text_work([two], True)
    assert (cut.streams, cut.length) == (WORTH_CUDA_STREAMS, 3000 // WORTH_CUDA_STREAMS)
