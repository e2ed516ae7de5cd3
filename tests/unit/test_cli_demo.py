import re
import sys
from pathlib import Path

import pytest

import enrich.drawings
from enrich.cli.demo_chapter import Unkept, chapter, promise, shortened
from enrich.cli.demo_photographs import choose_evenly, find_pictures
from enrich.cli.demo_steps import choose_steps
from enrich.errors import UsageError

STEPS = ("caption", "facts", "age", "tags", "colors", "quality", "ocr")


def test_where_all_is_installed_no_step_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("onnxruntime", "rapidocr", "tokenizers"):
        pytest.importorskip(package, reason="the extras cpu and ocr are not installed")
    assert list(choose_steps(*STEPS)) == list(STEPS)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("package", "left"),
    [
        ("rapidocr", ["ocr"]),
        ("tokenizers", ["caption", "facts", "tags"]),
        ("onnxruntime", ["caption", "facts", "age", "tags", "ocr"]),
    ],
)
def test_steps_that_lack_a_package_are_left_out_and_that_is_said(
    package: str, left: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as Python itself notes what is not there
    assert not {*left} & {*choose_steps(*STEPS)}
    said = f"(left out: {package} is not installed, so there is no step {', '.join(left)})\n"
    assert said in capsys.readouterr().out


def test_steps_that_lack_a_model_are_left_out_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra cpu is not installed")
    (tmp_path / "models" / "drawings-vlm").mkdir(parents=True)
    monkeypatch.setattr(enrich.drawings, "__file__", str(tmp_path / "__init__.py"))
    assert list(choose_steps("caption", "age", "tags", "colors")) == ["caption", "colors"]
    assert capsys.readouterr().out == (
        "(left out: the model drawings-age is not there, so there is no step age)\n"
        "(left out: the model drawings-clip is not there, so there is no step tags)\n"
    )


def test_what_a_step_is_changed_to_is_not_there_the_next_time() -> None:
    choose_steps("colors")["colors"]["plugin"] = "other"
    assert choose_steps("colors") == {"colors": {"plugin": "colors"}}


def test_a_chapter_says_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    with chapter("A file arrives"):
        pass
    assert re.fullmatch(r"\nA file arrives \.\.\. \d+ ms\n", capsys.readouterr().out)


def test_a_broken_promise_ends_a_chapter_and_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    promise(True, "not to be said")
    with pytest.raises(Unkept, match="two files are one"), chapter("A file arrives"):
        promise(False, "two files are one")
    assert capsys.readouterr().out == "\nA file arrives ...\n"


def test_a_text_of_many_lines_is_a_cell_of_a_table() -> None:
    assert shortened(None) == ""
    assert shortened("JAZZ\nNIGHT") == "JAZZ / NIGHT"
    assert shortened("x" * 48) == "x" * 48
    assert shortened("x" * 49) == "x" * 45 + "..."


def test_pictures_are_chosen_evenly_and_hidden_folders_passed_over(tmp_path: Path) -> None:
    for number in range(60):
        path = tmp_path / f"{number // 10}" / f"{number:02}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / ".trash").mkdir()
    (tmp_path / ".trash" / "gone.jpg").touch()
    (tmp_path / "notes.txt").touch()
    found = find_pictures(tmp_path)
    assert [path.stem for path in found] == [f"{number:02}" for number in range(60)]
    chosen = choose_evenly(found)
    assert len(chosen) == len({*chosen}) == 24
    assert [path.stem for path in chosen[:4]] == ["00", "02", "05", "07"]
    assert chosen[-1].stem == "57"
    assert choose_evenly(found[:3]) == found[:3]


def test_a_huge_folder_is_not_read_to_its_end(tmp_path: Path) -> None:
    for number in range(2001):
        (tmp_path / f"{number:04}.png").touch()
    assert len(find_pictures(tmp_path)) == 2000


def test_one_file_is_taken_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photograph").touch()
    monkeypatch.chdir(tmp_path)
    assert find_pictures(Path("photograph")) == [tmp_path / "photograph"]


def test_a_path_without_pictures_is_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match="no file in it is named like a picture"):
        find_pictures(tmp_path)
    with pytest.raises(UsageError, match="no such file or folder"):
        find_pictures(tmp_path / "nowhere")
