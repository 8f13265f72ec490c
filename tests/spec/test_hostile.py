"""Files made to hurt are refused at once, in one line."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml

from mlobs_pipelines.spec import SpecError, document, load_spec
from tests.spec.language import BINARY, parse, problems

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "m.yaml:1: a: &a: aliases and anchors are refused; text that begins with & must be in quotes"),
        ("a: *b\n", "m.yaml:1: a: *b: aliases and anchors are refused; text that begins with * must be in quotes"),
        ("&a model: x\n", "m.yaml:1: a key must be plain text"),
        ("&a {model: x}\n", "m.yaml:1: &a: aliases and anchors are refused"),
        ("<<: {model: x}\n", "m.yaml:1: '<<': is no key of a spec"),
        ("model: !!python/object/apply:os.system [ls]\n", "m.yaml:1: model: tag:yaml.org,2002:python/object/apply:os.system: tags are refused"),
        ("model: !x y\n", "m.yaml:1: model: !x: tags are refused"),
        ("? [a, b]\n: c\n", "m.yaml:1: a key must be plain text"),
        (": c\n", "m.yaml:1: "),
        ("a: " + "[" * 100_000, "m.yaml:1: is nested more than 16 levels deep"),
        ("a: " + "{b: " * 50_000, "m.yaml:1: is nested more than 16 levels deep"),
        ("\n".join("  " * i + f"k{i}:" for i in range(400)), "m.yaml:17: is nested more than 16 levels deep"),
        ("", "m.yaml: is empty"),
        ("# nothing\n", "m.yaml: is empty"),
        ("---\n", "m.yaml:2: is empty"),
        ("[a, b]\n", "m.yaml:1: is not a mapping of keys, such as model: my_model"),
        ("just text\n", "m.yaml:1: is not a mapping of keys, such as model: my_model"),
        (BINARY + "---\n" + BINARY, "m.yaml:13: holds a second document; write one file a model"),
        ("model: a\x00b\n", "m.yaml:1: holds the character '\\x00', which no YAML file may have"),
        ("model: a\nowner: \x1b[31m\n", "m.yaml:2: holds the character '\\x1b', which no YAML file may have"),
        ("model: a\nowner: \ud800\n", "m.yaml:2: holds the character '\\ud800', which no YAML file may have"),
        ("model: [a\n", "is no valid YAML"),
        ('model: "a\n', "is no valid YAML"),
        ("%YAML 9.9\n---\nmodel: a\n", "is no valid YAML"),
        ("x" * 300_000, "m.yaml: is larger than 256 KiB and so is no spec"),
    ],
    ids=range(25),
)  # fmt: skip
def test_a_hostile_text_is_refused_in_one_line_at_once(text: str, said: str) -> None:
    began = time.process_time()
    found = problems(text)
    assert time.process_time() - began < 0.5
    assert found[0].startswith(said) if said.startswith("m.yaml") else said in found[0]


@pytest.mark.parametrize("one", ["k{i}: 1\n", "labels{i}: [x]\n", "? k{i}\n"])
def test_a_file_full_of_mistakes_is_answered_at_once(one: str) -> None:
    text = "".join(one.replace("{i}", str(i)) for i in range(18_000))[: 250 * 1024]
    began = time.process_time()
    found = problems(text.rpartition("\n")[0])
    assert time.process_time() - began < 5
    assert 1 <= len(found) <= 100


@pytest.mark.parametrize(
    "more",
    [
        f"features: {{numeric: [{', '.join(f'feature_{i}' for i in range(8000))}], ranges: {{{', '.join(f'f{i}: [0, 1]' for i in range(6000))}}}}}\n",
        f"fairness: {{attributes: [{', '.join(f'a_{i}' for i in range(1900))}], reference_groups: {{{', '.join(f'b_{i}: x' for i in range(9000))}}}}}\n",
        f"segments: [{'[a, b], ' * 9000}]\n",
    ],
    ids=["ranges", "groups", "segments"],
)
def test_a_file_full_of_contradictions_is_answered_soon(more: str) -> None:
    began = time.process_time()
    found = problems(BINARY + more)
    assert time.process_time() - began < 10
    assert len(found) == 100


def test_the_parser_in_pure_python_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with_c = parse(BINARY + "segments: [NO, [a, 'null']]\nowner: ~\n")
    monkeypatch.setattr(document, "_LOADER", yaml.SafeLoader)
    assert parse(BINARY + "segments: [NO, [a, 'null']]\nowner: ~\n") == with_c
    for text in (BOMB, "? [a, b]\n: c\n", "a: " + "[" * 1000, "model: !x y\n", "a: b: c\n", "a:\n\tb: c\n", "a: @b\n"):
        (problem,) = problems(text)
        assert problem.startswith("m.yaml:")


def test_a_long_list_of_features_is_no_mistake() -> None:
    spec = parse(f"{BINARY}features: {{numeric: [{', '.join(f'f{i}' for i in range(20_000))}]}}\n")
    assert len(spec.features.numeric or ()) == 20_000


def test_a_byte_order_mark_and_windows_line_ends_are_read_over(tmp_path: Path) -> None:
    path = tmp_path / "fraud.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + BINARY.replace("\n", "\r\n").encode())
    assert load_spec(path).model == "fraud"
    assert parse("\N{BYTE ORDER MARK}" + BINARY).model == "fraud"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"model: a\nowner: caf\xe9\n", "fraud.yaml:2: is not UTF-8 text; save it as UTF-8"),
        (BINARY.encode("utf-16"), "fraud.yaml:1: is not UTF-8 text; save it as UTF-8"),
        (os.urandom(1) * (10 << 20), "fraud.yaml: is larger than 256 KiB and so is no spec"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "fraud.yaml").write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "fraud.yaml")
    assert str(caught.value).endswith(said)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name, said in (("pipe", "is not a file"), ("folder", "is not a file"), ("gone", "can't be read: no such file")):
        with pytest.raises(SpecError, match=said):
            load_spec(tmp_path / f"{name}.yaml")
