"""The page of `rnntk export --format html`, opened from disk in headless Chromium, computes what the run computes.

Every test also fails on a message in the console, an error of the page, or a request to anywhere.
"""

from __future__ import annotations

import importlib.resources
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rnntk.decoding.language_model import LanguageModel
from rnntk.exchange.html import Page, build
from rnntk.play import reading, visible
from rnntk.storage import folder
from rnntk.storage.folder import RunFolder
from rnntk.text import preprocessors

if TYPE_CHECKING:
    from playwright.sync_api import Page as BrowserPage

Export = Callable[..., Path]

# Runs code in a worker of the page's own script, beside the page's model.
IN_WORKER = """
async ([code, given]) => {
  const text = (id) => document.getElementById(id).textContent;
  const start = `${text("model-worker")}
    self.onmessage = async ({ data: { description, base64, given } }) => {
      const bytes = await unpacked(base64);
      const network = (simd) => new Network(description.run, unpack(description.layout, bytes), simd);
      self.postMessage(await (${code})(given, description, network));
    };`;
  const worker = new Worker(URL.createObjectURL(new Blob([start])));
  const found = new Promise((done, failed) => {
    worker.onmessage = ({ data }) => done(data);
    worker.onerror = (event) => failed(new Error(event.message));
  });
  worker.postMessage({ description: JSON.parse(text("model-data")), base64: text("model-weights"), given });
  return found;
}
"""
STEPS = """
([ids, simd], description, network) => {
  const found = network(simd);
  const layers = [...found.layers.keys()];
  const quantities = Object.keys(description.quantities);
  const steps = ids.map((id) => {
    const logits = [...found.step(id)];
    return { logits, values: quantities.map((q) => layers.map((layer) => [...found.values(layer, q)])) };
  });
  return { logits: steps.map((s) => s.logits), values: steps.map((s) => s.values) };
}
"""


def in_worker(page: BrowserPage, code: str, given: object) -> Any:
    return page.evaluate(IN_WORKER, [code, given])


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """`export(run, weights)` -> path of the page; `.page` of the function is the last one."""

    def write(run: RunFolder, weights: str = "float32") -> Path:
        path = tmp_path / f"{run.name}.html"
        write.page = build(run, run.checkpoint("last"), weights)
        path.write_bytes(write.page.content)
        return path

    return write


NETWORKS = {
    "lstm": {},
    "gru": {"cell": "gru"},
    "gru-before": {"cell": "gru", "before": True},
    "rnn": {"cell": "rnn", "spread": 0.3},  # wilder weights would multiply every rounding
    "lstm-norm": {"layer_norm": True},
    "gru-norm": {"cell": "gru", "layer_norm": True},
    "hangul": {"preprocessor": "hangul"},
    "one-panel": {"H": 16},
    "wide": {"H": 70, "spread": 0.2},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_computes_what_the_run_does(
    name: str, opened, export: Export, tmp_path, make_run, plain_text, korean_text
) -> None:
    options = NETWORKS[name]
    text = korean_text if "preprocessor" in options else plain_text
    run = make_run(tmp_path / "r", text=text, **options)
    model = LanguageModel.load(run)
    trace = reading.trace(model, text)
    ids = trace.text.ids
    logits = np.concatenate(list(model.decoder.forward(ids, model.decoder.initial_states())))
    quantities = reading.QUANTITIES[model.decoder.cell]
    expected = np.stack(
        [[trace.values(layer, q) for layer in range(2)] for q in quantities]
    ).transpose(2, 0, 1, 3)
    for weights, allowed in (("float32", 1e-4), ("float16", 2e-2)):
        page = opened(export(run, weights).as_uri())
        for simd in (True, False):
            found = in_worker(page, STEPS, [ids.tolist(), simd])
            assert np.abs(found["logits"] - logits).max() < allowed, (weights, simd)
            assert np.abs(found["values"] - expected).max() < allowed, (weights, simd)


def test_rounded_weights_are_those_that_were_measured(
    opened, export: Export, tmp_path, make_run, plain_text
) -> None:
    run = make_run(tmp_path / "r")
    ids = LanguageModel.load(run).encode(plain_text).ids
    for weights in ("int8", "float16"):
        page = opened(export(run, weights).as_uri())
        decoder = LanguageModel.of_run(run, export.page.weights).decoder
        logits = np.concatenate(list(decoder.forward(ids, decoder.initial_states())))
        found = in_worker(page, STEPS, [ids.tolist(), True])["logits"]
        assert np.abs(found - logits).max() < 1e-4


CODE = """
([name, texts, streams]) => ({
  symbols: texts.map((text) => Array.from(text, CODECS[name].encode).join("")),
  texts: streams.map((pieces) => {
    const decoder = CODECS[name].decoder();
    return pieces.map((piece) => decoder.feed(piece)).join("") + decoder.flush();
  }),
})
"""


@pytest.mark.parametrize("name", ["plain", "hangul", "hangul-slides", "bytes"])
def test_texts_become_symbols_and_back_as_in_python(
    name: str, opened, export: Export, tmp_path, make_run
) -> None:
    codec = preprocessors.get(name)
    rng = np.random.default_rng(3)
    letters = list("가각값힣ㄱㅏㅄᴥa \n“漢é" if name != "hangul-slides" else "가각값힣ㄱㅏㅄaé")
    texts = ["".join(rng.choice(letters, 12)) for _ in range(60)]
    symbols = list("ㄱㅏㅄㅆㅃㅢᴥᴥa") if "hangul" in name else letters
    streams = [
        ["".join(rng.choice(symbols, rng.integers(1, 5))) for _ in range(8)] for _ in range(200)
    ]
    if name == "bytes":
        streams = [list(codec.encode(text)) for text in texts]
    page = opened(export(make_run(tmp_path / "r")).as_uri())
    found = in_worker(page, CODE, [name, texts, streams])
    assert found["symbols"] == [codec.encode(text) for text in texts]
    assert found["texts"] == [codec.decode("".join(pieces)) for pieces in streams]


def read_text(page: BrowserPage, text: str) -> None:
    page.get_by_role("tab", name="Read").click()
    page.locator("#read-input").fill(text)
    page.locator("#read-form button").click()


def wait_for(page: BrowserPage, selector: str, pattern: str) -> None:
    page.locator(selector).filter(has_text=re.compile(pattern)).wait_for()


def start_writing(page: BrowserPage, prompt: str, *, seed: int, length: int) -> None:
    page.locator("#write-prime").fill(prompt)
    page.locator("#write-seed").fill(str(seed))
    page.locator("#write-length").fill(str(length))
    page.locator("#write-pace").select_option("0")
    page.locator("#write-prime").press("Control+Enter")


def written(page: BrowserPage) -> str:
    return page.locator("#write-text").evaluate(
        """box => [...box.children].flatMap((block) => block.className === "plain" ? [block]
            : [...block.children].map((span) => span.querySelector("b") ?? span))
            .map((node) => node.textContent).join("")"""
    )


def test_it_writes_the_text_of_the_seed(
    opened, export: Export, tmp_path, make_run, plain_text
) -> None:
    run = make_run(tmp_path / "r")
    model = LanguageModel.load(run)
    page = opened(export(run).as_uri())
    start_writing(page, "int ", seed=7, length=300)
    wait_for(page, "#write-status", "Written: 304 characters, seed 7")
    assert written(page) == "int " + "".join(model.stream("int ", seed=7, length=300))
    for settings in ({"temperature": 0.5}, {"temperature": 0.0}, {"top_k": 3}, {"top_p": 0.6}):
        for field in ("temperature", "top_k", "top_p"):
            value = str(settings.get(field, "1" if field == "temperature" else ""))
            page.locator(f"#write-{field.replace('_', '-')}").fill(value)
        page.locator("#write-status").evaluate("line => { line.textContent = ''; }")
        start_writing(page, "", seed=8, length=200)
        wait_for(page, "#write-status", "Written: 200 characters, seed 8")
        assert written(page) == "".join(model.stream("", seed=8, length=200, **settings)), settings
    page.locator("#write-top-k").fill("0")
    start_writing(page, "", seed=8, length=200)
    assert not page.locator("#write-top-k").evaluate("field => field.checkValidity()")


def test_texts_written_at_once_are_separate(opened, export: Export, tmp_path, make_run) -> None:
    """A text in Write, those of the first lesson, and a text that is read meanwhile."""
    run = make_run(tmp_path / "r")
    model = LanguageModel.load(run)
    page = opened(export(run).as_uri())
    start_writing(page, "int ", seed=7, length=20_000)
    page.get_by_role("tab", name="Lessons").click()
    page.get_by_role("button", name="Write at three temperatures").click()
    texts = page.locator("#lessons-list article").first.locator("pre")
    texts.nth(2).wait_for()
    assert page.locator("#write-status").text_content() == "Writing …"
    for k, temperature in enumerate((0.3, 1, 2)):
        expected = "".join(model.stream(seed=1, length=200, temperature=temperature))
        assert texts.nth(k).text_content() == expected
    read_text(page, "int f(void)")
    bits = model.evaluate("int f(void)").bits_per_character
    wait_for(page, "#read-figures", f"^bits per character{re.escape(f'{bits:.3f}')}")
    page.get_by_role("tab", name="Write").click()
    wait_for(page, "#write-status", "Written: 20,004 characters, seed 7")
    assert written(page) == "int " + "".join(model.stream("int ", seed=7, length=20_000))


def test_reading_and_units_are_those_of_the_server(
    opened, export: Export, tmp_path, make_run, plain_text
) -> None:
    run = make_run(tmp_path / "r", cell="gru", layer_norm=True)
    model = LanguageModel.load(run)
    page = opened(export(run).as_uri())
    read_text(page, plain_text)
    bits = model.evaluate(plain_text).bits_per_character
    wait_for(page, "#read-figures", f"^bits per character{re.escape(f'{bits:.3f}')}")
    page.locator("#read-text .c").nth(7).hover()
    expected = reading.read(model, plain_text)["bits"][7]
    assert page.locator("#read-at").inner_text() == f"{plain_text[7]}: {expected:.2f} bits"
    page.get_by_role("tab", name="Inside").click()
    page.locator("#inside-follows li").first.wait_for()
    trace = reading.trace(model, plain_text)
    for quantity in ("h", "z"):
        page.locator("#inside-quantity").select_option(quantity)
        name = reading.QUANTITIES["gru"][quantity]
        wait_for(page, "#inside-title", f"{name}$")
        ranking = visible.ranking(trace, quantity)["features"]
        shown = page.locator("#inside-ranking li").all_inner_texts()
        for row, text in zip(ranking, shown, strict=True):
            assert row["title"] in text
            assert f"chance {row['chance']:.2f}" in text
            best = row["best"][0]
            assert f"{best['layer'] + 1}·{best['unit']} " in text


def test_korean_is_composed_and_its_parts_are_shown(
    opened, export: Export, tmp_path, make_run, korean_text
) -> None:
    run = make_run(tmp_path / "r", text=korean_text, preprocessor="hangul")
    page = opened(export(run).as_uri())
    start_writing(page, "각시가 漢", seed=3, length=150)
    wait_for(page, "#write-unknown", "left out: 漢$")
    wait_for(
        page,
        "#write-status",
        r"Written: 154 characters, seed 3\. Not in the vocabulary, left out: 漢",
    )
    model = LanguageModel.load(run)
    symbols = "".join(p.symbols for p in stream_of(model, "각시가 ", 3, 1200))
    assert written(page)[4:] == model.preprocessor.decode(symbols)[:150]
    assert page.locator("#write-text .syl").first.locator("i").all_inner_texts() == [
        "ㄱ",
        "ㅏ",
        "ㄱ",
    ]
    read_text(page, korean_text)
    wait_for(page, "#read-figures", "bits per symbol")
    page.get_by_role("tab", name="Inside").click()
    wait_for(page, "#inside-ranking", "end of a syllable")


def stream_of(model: LanguageModel, prompt: str, seed: int, length: int):
    from rnntk.config import SampleConfig

    return model.pieces(model.prompt(prompt), SampleConfig(length=length), seed)


EVIL = "</script><script>document.title='bad'</script><!-- <img src=x onerror=\"document.title='bad'\">"


def test_a_stranger_can_break_nothing(opened, export: Export, tmp_path, make_run) -> None:
    run = make_run(tmp_path / "r", text=EVIL * 3)
    record = json.loads((run.path / "run.json").read_text())
    record["corpus"] |= {"name": EVIL, "prime": EVIL}
    (run.path / "run.json").write_text(json.dumps(record))
    run = folder.open_run(run.path)
    page = opened(export(run).as_uri())
    start_writing(page, EVIL, seed=1, length=50)
    wait_for(page, "#write-status", "Written")
    assert written(page).startswith(EVIL)
    assert EVIL in page.locator("#run-facts").inner_text()
    assert page.title() == "r · rnntk"
    assert page.locator("img").count() == 0


def test_it_begins_by_itself_and_stops(opened, export: Export, tmp_path, make_run) -> None:
    path = export(make_run(tmp_path / "r")).as_uri()
    page = opened(path)
    page.locator("#write-text .c").nth(12).wait_for()
    assert page.locator("#write-length").input_value() == "1000"
    assert page.locator("#write-temperature").input_value() == "1"
    # It continues its text at another temperature.
    before = written(page)
    page.locator("#write-slider").fill("0")
    assert page.locator("#write-temperature").input_value() == "0"
    page.locator("#write-text .c").nth(len(before) + 10).wait_for()
    assert written(page).startswith(before)
    # It rests while the tab is hidden.
    hide = (
        "hidden => Object.defineProperty(document, 'hidden', { value: hidden, configurable: true })"
    )
    page.evaluate(hide, True)
    page.wait_for_timeout(100)
    count = page.locator("#write-text .c").count()
    page.wait_for_timeout(300)
    assert page.locator("#write-text .c").count() == count
    page.evaluate(hide, False)
    page.locator("#write-text .c").nth(count + 5).wait_for()
    page.get_by_role("button", name="Stop").click()
    wait_for(page, "#write-status", "Stopped")
    text = written(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save").click()
    assert saved.value.suggested_filename == "r.txt"
    assert Path(saved.value.path()).read_text(encoding="utf-8") == text
    page.get_by_role("button", name="Copy").click()
    wait_for(page, "#write-status", r"^Copied\.$")
    # With reduced motion it does not start.
    still = opened(path, reduced_motion="reduce")
    still.wait_for_timeout(500)
    assert still.locator("#write-text .c").count() == 0


def test_a_wrong_setting_is_said(opened, export: Export, tmp_path, make_run) -> None:
    page = opened(export(make_run(tmp_path / "r")).as_uri())
    read_text(page, "漢字")
    wait_for(page, "#problem", "fewer than two symbols that the model knows")
    read_text(page, "int " * 3000)
    wait_for(page, "#problem", "has 12,000 characters; shorten it to 10,000.")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_axe_finds_nothing(
    scheme: str, width: int, context, export: Export, tmp_path, make_run, korean_text
) -> None:
    axe = importlib.resources.files(pytest.importorskip("axe_playwright_python")) / "axe.min.js"
    run = make_run(tmp_path / "r", text=korean_text, preprocessor="hangul")
    size = {"width": width, "height": 800}
    page = context(color_scheme=scheme, viewport=size, bypass_csp=True).new_page()
    page.goto(export(run).as_uri())
    page.locator("body[data-ready]").wait_for()
    page.evaluate(axe.read_text(encoding="utf-8"))
    assert not page.locator("#tab-training:visible, #checkpoint:visible").count()
    filled = {"write": "#write-text .c", "read": "#read-text .c", "inside": "#inside-follows li"}
    for view, selector in filled.items():
        page.locator(f"#tab-{view}").click()
        page.locator(selector).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == width, view
        found = page.evaluate("axe.run()")
        problems = [
            (v["id"], v["help"], [n["html"] for n in v["nodes"][:3]]) for v in found["violations"]
        ]
        assert problems == [], view


def test_the_policy_forbids_all_else(opened, export: Export, tmp_path, make_run) -> None:
    html = export(make_run(tmp_path / "r")).read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.endswith("; img-src data:; worker-src blob:")
    page: Page = export.page
    assert page.rounding.weights == "float32"
    assert len(re.findall("<script", html)) == 4
