"""A report is one file with the page's content, whatever its text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from rnntk.decoding.language_model import LanguageModel
from rnntk.errors import DataError
from rnntk.play import own_text, pages, report
from rnntk.play.models import Models

EVIL = "</script><script>alert(1)</script><!-- & é \r\n\x00\x1b\x85$title"


class Scripts(HTMLParser):
    """The attributes and contents of a page's scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.policy = ""
        self._open: tuple[str, dict[str, str | None]] | None = None

    def handle_starttag(self, tag, attrs) -> None:
        values = dict(attrs)
        if tag in ("script", "style"):
            self._open = (tag, values)
            self.found.append((tag, values, ""))
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]
        assert not {"src", "href"} & set(values) or values.get("href") == "data:,"

    def handle_data(self, data: str) -> None:
        if self._open and self.found[-1][:2] == self._open:
            tag, values, before = self.found[-1]
            self.found[-1] = (tag, values, before + data)

    def handle_endtag(self, tag: str) -> None:
        self._open = None


def parsed(html: str) -> Scripts:
    found = Scripts()
    found.feed(html)
    return found


def test_the_data_comes_back_whatever_the_text(tmp_path, make_run, caplog) -> None:
    caplog.set_level("INFO", "rnntk")
    models = Models(LanguageModel.load(make_run(tmp_path / "r", text=EVIL * 3)))
    scripts = parsed(report.report(models, EVIL + "漢")).found
    assert [tag for tag, *_ in scripts] == ["style", "script", "script"]
    _, attributes, content = scripts[1]
    assert attributes == {"type": "application/json", "id": "report-data"}
    data = json.loads(content)
    assert data["read"]["text"] == EVIL
    assert caplog.messages == ["Not in the vocabulary, left out: '漢'"]
    assert set(data["samples"]) == {"10", "20", "30"}
    for row in data["units"]["features"]:
        for unit in row["best"]:
            assert f"{unit['layer']}/{unit['unit']}" in data["unit"]


def test_the_policy_names_the_very_script_and_style(plain: Models, plain_text: str) -> None:
    found = parsed(report.report(plain, plain_text))
    for tag, _, content in (found.found[0], found.found[2]):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in found.policy
    assert found.policy.startswith("default-src 'none'")


def test_no_module_is_left_and_no_name_stands_twice() -> None:
    scripts = [content for *_, content in parsed(pages.with_model({}, b"")).found[-2:]]
    for script in scripts:  # the worker's and the page's
        assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE)
        names = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", script, re.MULTILINE)
        assert len(names) > 20
        assert len(names) == len(set(names))


def test_nothing_ever_parses_text_as_html() -> None:
    for name in pages.SCRIPTS:
        source = pages.read(name).decode()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|DOMParser", source
        )
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", source)


def test_without_a_text_the_model_writes_one(plain: Models) -> None:
    text = own_text.OwnText(plain).excerpt()["text"]
    assert len(text) > 900
    assert text == own_text.OwnText(plain).excerpt()["text"]


def test_a_text_that_nothing_is_known_of(plain: Models) -> None:
    with pytest.raises(DataError):
        report.report(plain, "漢字")
