"""How soon a page is there: `python -m benchmarks.pages [MODELS] [NIGHTS]`.

Makes a home with 100 models of 365 nights, straight into the store, serves it, and asks for every kind of page of many
models one after the other, as a reader would; then, where Chromium and Playwright are, lets a browser paint the largest
model's page. Prints medians and 95th percentiles in milliseconds, beside an answer that needs no page at all.
"""

from __future__ import annotations

import datetime as dt
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from mlobs_pipelines.report.site import paths
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.results import publish
from mlobs_pipelines.store.tables import METRICS, RUNS, SIGNALS
from tests.report.live import served
from tests.report.synthetic import SPEC, synthetic_home

PAGES = ("", "segments/", "versions/", "fairness/", "explanation/", "decisions/", "data/")
EVERY = 10
"""Every how many models are asked for."""


def home_of(root: Path, models: int, nights: int) -> Home:
    """A home whose every model has the nights of the first: its numbers, signals and runs under another name."""
    home = synthetic_home(root, nights)
    for n in range(1, models):
        model = f"fraud_{n:03d}"
        home.spec_file(model).write_text(SPEC.replace("card_fraud", model), encoding="utf-8")
        for name, schema in (("metrics", METRICS), ("signals", SIGNALS), ("runs", RUNS), ("explanations", METRICS)):
            for file in sorted(home.store_folder(name, "card_fraud").glob("*.parquet")):
                copied = home.store_folder(name, model) / file.name
                copied.parent.mkdir(parents=True, exist_ok=True)
                pl.read_parquet(file).with_columns(model=pl.lit(model)).select(*schema).write_parquet(copied)
    publish(home)
    return home


def milliseconds(deed: Callable[[], object]) -> float:
    began = time.perf_counter()
    deed()
    return (time.perf_counter() - began) * 1000


def said(name: str, times: Sequence[float], bytes_: int = 0) -> None:
    ordered = sorted(times)
    p95 = ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)]
    size = f", at most {bytes_ / 1000:.0f} kB" if bytes_ else ""
    print(f"{name:<44} median {statistics.median(ordered):6.0f} ms   p95 {p95:6.0f} ms   n = {len(ordered)}{size}")


def painted(address: str, times: int = 15) -> list[float]:
    """Milliseconds from asking to the first paint, in a browser that keeps nothing."""
    import shutil

    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(times):
            context = browser.new_context(bypass_csp=True)  # for what asks it when it painted; pages have no script
            page = context.new_page()
            page.goto(address)
            page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
            found.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
            context.close()
        browser.close()
    return found


def main(models: int = 100, nights: int = 365) -> None:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        home = home_of(Path(folder) / "home", models, nights)
        size = home.results.stat().st_size / 1e6
        print(f"{models} models x {nights} nights made in {time.perf_counter() - began:.0f} s; snapshot {size:.0f} MB")
        with served(home.root) as base:

            def get(path: str) -> int:
                with urllib.request.urlopen(base + path) as answer:
                    return len(answer.read())

            get("/")
            said("no page (/healthz)", [milliseconds(lambda: get("/healthz")) for _ in range(20)])
            said("overview", [milliseconds(lambda: get("/")) for _ in range(10)], get("/"))
            chosen = ["card_fraud", *(f"fraud_{n:03d}" for n in range(1, models, EVERY))]
            for page in PAGES:
                asked = [f"/models/{model}/{page}" for model in chosen]
                times = [milliseconds(lambda path=path: get(path)) for path in asked]  # type: ignore[misc]
                said(page.strip("/") or "model", times, max(get(path) for path in asked))
            details = [path for path in paths(home) if "/incidents/" in path]
            said("incident", [milliseconds(lambda path=p: get(path)) for p in details], max(map(get, details)))  # type: ignore[misc]
            details = [path for path in paths(home) if "/card_fraud/segments/" in path][1:]
            said("segment", [milliseconds(lambda path=p: get(path)) for p in details], max(map(get, details)))  # type: ignore[misc]
            try:
                said("model, first paint in Chromium", painted(f"{base}/models/card_fraud/"))
            except ImportError:
                print("Playwright is not installed: nothing was painted")


if __name__ == "__main__":
    print(dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"), sys.version.split()[0])
    main(*(int(argument) for argument in sys.argv[1:]))
