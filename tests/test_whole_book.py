"""The whole book at the smoke profile, through the real command line: every chapter, its results, its page.

The book is executed once for this file; the tests read what it left, and then run parts of it again.
"""

import hashlib
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_book import remote_resources
from test_teaching import judge

from manifold_utils.atlas import Atlas
from manifold_utils.book import Edition, book_status, run_book
from manifold_utils.book.contents import NOTEBOOKS, Book, read_notebook
from manifold_utils.profiles import Profile

PROJECT = Path(__file__).resolve().parents[1]
BOOK, SMOKE = Book(), Profile.load("smoke")
JOBS = [job for chapter in BOOK.chapters for job in BOOK.jobs(chapter, SMOKE)]
N_SHOWN_AGAIN = 3  # chapters executed a second time, in another order
pytestmark = pytest.mark.book


def command(data_dir, *arguments):
    """Call `python -m manifold_utils`; both streams end up in one text."""
    call = [sys.executable, "-m", "manifold_utils", *arguments, "--profile", "smoke", "--data-dir", str(data_dir)]
    done = subprocess.run(call, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def hashes(folder):
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and ".ipynb_checkpoints" not in p.parts)
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Data folder in which the whole book has been run."""
    folder = tmp_path_factory.mktemp("data")
    before = hashes(NOTEBOOKS)
    status, text = command(folder, "run", "--jobs", "2")
    assert status == 0, text
    assert hashes(NOTEBOOKS) == before, "the run changed its sources"
    return folder


@pytest.fixture(scope="module")
def atlas(data_dir):
    return data_dir / "atlases" / "smoke"


def test_every_job_ran_without_an_error(data_dir, atlas):
    states = {name: state for name, state, _ in book_status(Edition("smoke", data_dir=str(data_dir)))}
    assert states == {job.name: "done" for job in JOBS}
    for job in JOBS:
        executed = read_notebook(atlas / "notebooks" / f"{job.name}.ipynb")
        cells = [cell for cell in executed.cells if cell.cell_type == "code" and cell.source.strip()]
        assert all(cell.execution_count for cell in cells), job.name
        assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"], job.name
    assert not list(atlas.rglob(".tmp-*"))


def result_files(atlas, chapter_id):
    return [*atlas.glob(f"results/{chapter_id}*.json"), *atlas.glob(f"spaces/*/results/{chapter_id}*.json")]


@pytest.mark.parametrize("chapter", BOOK.chapters, ids=lambda chapter: chapter.notebook)
def test_chapter_leaves_named_finite_results(atlas, chapter):
    files = result_files(atlas, chapter.id)
    assert files
    for path in files:
        numbers = list(_numbers(json.loads(path.read_text())))
        assert numbers and all(math.isfinite(number) for number in numbers), path


def _numbers(value):
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers(item)
    elif isinstance(value, int | float):
        yield value


def named(atlas, chapter_id):
    return json.loads((atlas / "results" / f"{chapter_id}.json").read_text())["results"]


def test_ends_are_those_of_trained_runs_of_the_main_grid(atlas):
    runs = Atlas(atlas).runs
    trained = runs[(runs.grid == "main") & (runs.status == "finished") & (runs.final_error_train <= 0.1)]
    for split in ("train", "test"):
        found = named(atlas, "20")[f"{split}_end_to_truth"]
        assert found["n"] == len(trained) and "families" in found["note"]
        if len(trained):
            assert found["value"] == pytest.approx(trained[f"final_loss_{split}"].mean() / 2, rel=1e-3)


def test_a_spread_of_runs_is_no_interval(atlas):
    found = {name.removeprefix("geodesic_over_between"): one for name, one in named(atlas, "31").items()}
    middle, low, high = found[""], found["_spread_low"], found["_spread_high"]
    assert low["value"] < middle["value"] < high["value"] and (middle["low"], middle["high"]) != (low, high)
    assert low["low"] is None and high["high"] is None and "families" in middle["note"]


def test_the_excess_of_every_start_stands_beside_its_shuffled_self(atlas):
    found, starts = named(atlas, "47"), {"random_labels", "subset_20", "offset_0"}
    for split, tail in [(split, tail) for split in ("train", "test") for tail in ("", "_shuffled")]:
        assert {f"excess_{split}{tail}"} | {f"excess_{split}_{s}_50{tail}" for s in starts} <= set(found)
    assert not [name for name in found if "joining" in name]


def test_a_second_call_skips_everything(data_dir, atlas):
    before = hashes(atlas)
    status, text = command(data_dir, "run", "--jobs", "2")
    assert status == 0, text
    assert text.count("skipped") == len(JOBS) + 1 and f"{len(JOBS)} skipped" in text
    assert hashes(atlas).keys() - {"contact_sheet.png"} >= before.keys()


def test_pages_are_complete_and_need_no_network(data_dir, atlas):
    status, text = command(data_dir, "html")
    assert status == 0, text
    folder = Path(re.search(r"HTML book:\s+(\S+)", text).group(1)).parent
    missing = [job.name for job in JOBS if not (folder / f"{job.name}.html").is_file()]
    assert missing == [] and (folder / "index.html").is_file() and (folder / "searchindex.js").is_file()
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert all((f'href="{job.name}.html"' in index) == (not job.space) for job in JOBS)
    others = [job for job in JOBS if job.space]
    assert all(f'href="{job.name}.html"' in (folder / f"{job.chapter.notebook}.html").read_text() for job in others)
    assert remote_resources(folder) == []


@pytest.fixture(scope="module")
def browser():
    """A real browser, with WebGL in software where there is no card."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine: the pages are not opened (Debian: apt-get install chromium)")
    quiet = ["--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
    software = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=quiet + software)


@pytest.fixture(scope="module")
def pages(data_dir, atlas):
    status, text = command(data_dir, "html")
    assert status == 0, text
    return atlas / "html"


def opened(browser, path, width=1300):
    """A page, and what it complained of: errors, and requests that leave the disk."""
    page, complaints = browser.new_page(viewport={"width": width, "height": 900}), []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    local = ("file:", "data:", "blob:")
    page.on("request", lambda r: None if r.url.startswith(local) else complaints.append(r.url))
    page.goto(path.as_uri(), wait_until="load")
    return page, complaints


CUT = "() => [...document.querySelectorAll('.cell_input pre')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
ALTS = "() => [...document.images].filter(i => i.closest('article')).map(i => i.getAttribute('alt'))"
OVERFLOW = "() => document.scrollingElement.scrollWidth - window.innerWidth"


@pytest.mark.parametrize("name", ["index", "00", "11", "20", "42", "44", "60", "63", "90", "99"])
def test_a_page_in_a_browser_has_no_error_no_cut_code_and_no_nameless_picture(browser, pages, name):
    notebook = "index" if name == "index" else BOOK.by_id[name].notebook
    page, complaints = opened(browser, pages / f"{notebook}.html")
    assert complaints == [] and page.evaluate(CUT) == 0
    alts = page.evaluate(ALTS)
    assert alts and all(alt is not None and not alt.endswith(".png") for alt in alts)
    if name != "index":
        assert all(len(alt) >= 20 for alt in alts) and "On this atlas" in page.inner_text("article")
    page.close()


def test_the_front_fits_a_phone_and_leads_to_every_chapter(browser, pages):
    page, complaints = opened(browser, pages / "index.html", width=390)
    assert complaints == [] and page.evaluate(OVERFLOW) <= 1
    rows = page.locator("table.chapters tr:not(.part)").count()
    assert rows == len({job.chapter.id for job in JOBS})
    page.close()


def test_a_figure_in_three_dimensions_turns_and_the_wheel_scrolls(browser, pages):
    page, complaints = opened(browser, pages / f"{BOOK.by_id['40'].notebook}.html")
    figure = page.locator(".js-plotly-plot").first
    figure.wait_for(timeout=60_000)
    figure.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    eye = "e._fullLayout.scene._scene.getCamera().eye"
    camera = f"e => (({{x, y, z}}) => [x, y, z, e.clientWidth, e._fullLayout.width])({eye})"
    before, box = figure.evaluate(camera), figure.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, 40)
    page.wait_for_timeout(500)
    assert figure.evaluate(camera)[:3] == pytest.approx(before[:3]), "the wheel does not zoom"
    box = figure.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 150, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    page.wait_for_timeout(1000)
    after = figure.evaluate(camera)
    assert after[:3] != pytest.approx(before[:3], abs=1e-3), "a drag turns it"
    assert after[3] == pytest.approx(after[4], abs=2), "it is as wide as its column"
    assert complaints == []
    page.close()


def test_the_explorer_shows_every_point_and_says_what_is_brushed(browser, pages, atlas):
    page, complaints = opened(browser, pages / "explore.html")
    n_points = len(Atlas(atlas).points)
    page.wait_for_function("() => window.explorer && explorer.scene.getViewports().length", timeout=60_000)
    assert f"{n_points:,} points" in page.inner_text("#counts")
    page.select_option("#view", "2")
    page.wait_for_timeout(1000)
    page.click("#select")
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] - 2, steps=3)
    page.mouse.up()
    n_runs = Atlas(atlas).points.run.nunique()
    assert page.inner_text("#summary") == f"{n_points} points of {n_runs} of {n_runs} runs."
    assert page.locator("#runs tr").count() == min(n_runs, 40) + 1 and page.locator("#curves polyline").count()
    assert page.locator("#samples canvas").count() == 12, "with pictures of the digits"
    page.fill("#progress", "0.5")
    reached = page.evaluate("() => explorer.pointsInside(-1e9, -1e9, 1e9, 1e9).length")
    assert 0 < reached < n_points, "the slider hides what comes later"
    page.select_option("#world", "null")
    assert "null world" in page.inner_text("#labels") and complaints == []
    page.close()


@pytest.mark.parametrize("name", ["glossary", "references", "lesson_plan"])
def test_pages_beside_the_chapters_open_and_lead_to_chapters(browser, pages, name):
    page, complaints = opened(browser, pages / f"{name}.html")
    every = "() => [...document.querySelectorAll('article a')].map(a => a.getAttribute('href'))"
    links = page.evaluate(every)
    chapters = {link for link in links if re.match(r"\d\d_\w+\.html", link or "")}
    assert complaints == [] and len(chapters) >= 8 and all((pages / link).is_file() for link in chapters)
    page.close()


def test_slides_of_the_lecture_fit_and_ask_no_network(browser, pages):
    page, complaints = opened(browser, pages / "slides" / "index.html")
    page.wait_for_function("() => window.Reveal && Reveal.isReady()", timeout=60_000)
    n_slides = page.evaluate("() => Reveal.getTotalSlides()")
    heights = []
    for number in range(n_slides):
        page.evaluate(f"() => Reveal.slide({number}, 0, 99)")
        heights.append(page.evaluate("() => Reveal.getCurrentSlide().scrollHeight"))
    assert complaints == [] and 8 <= n_slides <= 20 and max(heights) <= 800
    assert page.locator("mjx-container").count() > 10 and page.locator(".slides img").count() == 2
    page.close()


@pytest.mark.parametrize("id_", ["00", "45"])
def test_exercises_fail_untouched_and_wrong_and_pass_when_solved(atlas, data_dir, tmp_path, monkeypatch, id_):
    monkeypatch.setenv("MANIFOLD_OUT", str(tmp_path))
    path = NOTEBOOKS / f"{BOOK.by_id[id_].notebook}.ipynb"
    assert judge(path, {"profile": "smoke", "data_dir": str(data_dir)}) == []


def test_contact_sheet_shows_all_figures(data_dir, atlas):
    from PIL import Image

    status, text = command(data_dir, "contact-sheet")
    assert status == 0, text
    with Image.open(atlas / "contact_sheet.png") as sheet:
        assert min(sheet.size) > 300


def test_a_run_a_tile_and_a_chunk_that_were_deleted_are_made_again(data_dir, atlas):
    """The cure that a message about damage names: delete what it names, run again; nothing else changes."""
    opened = Atlas(atlas)
    run = opened.runs.index[0]

    def kept():
        found = hashes(atlas / "predictions") | hashes(atlas / "distances")
        found.pop(f"{run}.zarr/zarr.json", None)  # says how many seconds the run took
        return found

    before = kept()
    tile = next(opened.distances_path("test").glob("c/*/*"))
    shutil.rmtree(atlas / "predictions" / f"{run}.zarr")
    tile.unlink()
    (opened.embedding_path("test") / "embedding" / "c" / "0" / "0").unlink()
    states = {name: (state, reason) for name, state, reason in book_status(Edition("smoke", data_dir=str(data_dir)))}
    stale = {name: reason for name, (state, reason) in states.items() if state == "stale"}
    assert set(stale) == {"11_training", "20_distances", "30_inpca"}
    assert f"run {run} is missing" in stale["11_training"] and "tiles of" in stale["20_distances"]
    status, text = command(data_dir, "run", "30")
    assert status == 0 and text.count("ran   ") == 3, text
    assert kept() == before
    assert command(data_dir, "status", "--deep")[0] == 0


def test_shown_chapters_give_the_same_numbers_in_another_order(data_dir, atlas):
    shown = [chapter.id for chapter in BOOK.chapters if chapter.kind == "show" and chapter.id != "99"]
    chosen = random.Random(0).sample(shown, min(N_SHOWN_AGAIN, len(shown)))
    before = {id_: [_steady(p) for p in result_files(atlas, id_)] for id_ in chosen}
    for id_ in sorted(chosen, reverse=True):
        outcomes = run_book(Edition("smoke", data_dir=str(data_dir)), [id_], only=True, force=True)
        assert {outcome.status for outcome in outcomes} == {"ran"}
    assert {id_: [_steady(p) for p in result_files(atlas, id_)] for id_ in chosen} == before


def _steady(path):
    """Named values of a results file, to six digits; times and dates differ from run to run."""
    found = json.loads(path.read_text())
    values = found.get("results", found)
    kept = {name: item for name, item in values.items() if isinstance(item, dict) and "second" not in name}
    return {name: f"{item['value']:.6g}" for name, item in kept.items() if isinstance(item.get("value"), int | float)}


def test_the_sweep_of_the_readme_gives_a_table_and_leaves_the_atlas_alone(data_dir, atlas, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", (PROJECT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    (sweep,) = [block for block in blocks if "execute_notebook(" in block]
    short, n = re.subn(r"^values = \[[^\]]+\]$", "values = [2, 5]", sweep, flags=re.M)
    assert n == 1 and short.count('"digits"') == 1
    before = hashes(atlas)
    environment = {**os.environ, "MANIFOLD_DATA": str(data_dir), "PYTHONPATH": str(PROJECT)}
    call = [sys.executable, "-c", short.replace('"digits"', '"smoke"')]
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    head, index, *rows = done.stdout.strip().splitlines()
    assert head.split() == ["value", "low", "high", "n"] and index.strip() == "n_neighbours"
    assert [row.split()[0] for row in rows] == ["2", "5"]
    assert all(0 <= float(row.split()[1]) <= 1 for row in rows)
    assert hashes(atlas) == before
    for value in (2, 5):
        made = json.loads((tmp_path / f"sweep/n_neighbours-{value}/results/40.json").read_text())["made"]
        assert made["parameters"]["n_neighbours"] == value and made["profile"] == "smoke"
        assert list((tmp_path / f"sweep/n_neighbours-{value}/figures").glob("40_*.png"))


def test_papermill_from_the_root_folder_says_which_profiles_there_are(data_dir, atlas, tmp_path):
    chapter = NOTEBOOKS / "42_spectrum.ipynb"
    call = [sys.executable, "-m", "papermill", str(chapter), str(tmp_path / "out.ipynb"), "-p", "profile", "no_such"]
    environment = {**os.environ, "MANIFOLD_DATA": str(data_dir), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(call, cwd="/", env=environment, capture_output=True, text=True)
    last = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr).strip().splitlines()[-1]
    assert done.returncode and last.startswith("ValueError: no profile and no atlas 'no_such'; profiles: ")
    assert all(name in last for name in ("cifar16", "digits", "smoke", f"atlases in {atlas.parent}: smoke"))
