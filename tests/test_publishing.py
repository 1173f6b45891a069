"""Publishing: a tiny executed book, written by hand, becomes a small, stamped folder with nothing of this machine."""

import base64
import io
import json
import shutil

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbformat import v4
from PIL import Image, ImageColor

from manifold_utils import plots
from manifold_utils.book import Edition, publishing
from manifold_utils.book.publishing import code_fingerprint, how_to_mend, publish, small_picture, stale

BOOK = """title: A tiny book
chapters:
- {id: "10", notebook: 10_make, title: Make, kind: make}
- {id: "20", notebook: 20_spaces, title: Spaces, kind: make, matrix: {grid: [main, sizes]}}
- {id: "60", notebook: 60_lacking, title: Lacking, kind: beyond, grids: [nowhere]}
"""
JOBS = ["10_make", "20_spaces-main", "20_spaces-sizes"]
ALL = {"10.json", "20.json", *(f"{name}.ipynb" for name in JOBS)}
ALT = {"alt": "A square with a diagonal line from one corner to the other."}


def figure(side=1000, noise=False):
    """A PNG as base64: white, a diagonal, a few points of a rare colour; or noise, which no encoding makes small."""
    pixels = np.full((side, side, 3), 255, dtype=np.uint8)
    if noise:
        pixels = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
    pixels[np.arange(side), np.arange(side)] = (0, 0, 0)
    pixels[100:106, 900:906] = (0, 158, 115)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def source(name):
    cells = [
        v4.new_markdown_cell(f"# What is {name}?"),
        v4.new_code_cell('profile = "digits"  # which\ndata_dir = ""  # where\ngrid = ""  # part'),
        v4.new_code_cell(f"print('{name}')"),
    ]
    cells[1].metadata["tags"] = ["parameters"]
    return v4.new_notebook(cells=cells)


def executed(name, data_dir, *outputs):
    """The notebook as the runner leaves it: parameters injected, outputs in its last cell, timings in its metadata."""
    node = nbformat.from_dict(source(name))
    injected = v4.new_code_cell(f'# Parameters\nprofile = "smoke"\ndata_dir = "{data_dir}"\ngrid = "main"\n')
    injected.metadata["tags"] = ["injected-parameters"]
    node.cells.insert(2, injected)
    node.cells[-1].outputs = list(outputs)
    node.cells[-1].metadata["execution"] = {"iopub.execute_input": "2026-01-01T00:00:00Z"}
    node.metadata["papermill"] = {"parameters": {"data_dir": str(data_dir)}, "start_time": "now"}
    return node


def stream(text, name="stdout"):
    return v4.new_output("stream", name=name, text=text)


def shown(data, metadata=None):
    return v4.new_output("display_data", data=data, metadata=metadata or {})


@pytest.fixture
def edition(tmp_path):
    """An Edition of the tiny book at smoke whose two chapters have been run."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "book.yaml").write_text(BOOK)
    for name in ("10_make", "20_spaces", "60_lacking"):
        nbformat.write(source(name), folder / f"{name}.ipynb")
    made = Edition("smoke", data_dir=str(tmp_path / "data"), folder=folder)
    made.output.mkdir(parents=True)
    (made.atlas / "results").mkdir()
    for name in JOBS:
        place(made, name, stream("1 2 3\n"))
    for id_ in ("10", "20"):
        found = {"chapter": id_, "results": {"number": {"value": 0.5, "note": f"from {made.atlas}/points.parquet"}}}
        (made.atlas / "results" / f"{id_}.json").write_text(json.dumps(found))
    return made


def place(edition, name, *outputs):
    """Put an executed notebook into the edition's atlas."""
    chapter = name.partition("-")[0]
    nbformat.write(executed(chapter, edition.atlas.parents[1], *outputs), edition.output / f"{name}.ipynb")


@pytest.fixture
def reference(tmp_path):
    return tmp_path / "reference"


def published(reference, name="10_make.ipynb"):
    return json.loads((reference / "smoke" / name).read_text())


def outputs(reference):
    return published(reference)["cells"][-1]["outputs"]


def test_numbers_and_notebooks_are_written_and_stamped(edition, reference):
    done = publish(edition, reference)
    files = {path.name for path in (reference / "smoke").iterdir()}
    assert files == ALL == set(done.sizes) and not done.left_out and done.width == 900
    assert "5 files" in str(done) and str(reference / "smoke") in str(done)
    code = code_fingerprint(edition.book.folder / "10_make.ipynb")
    assert published(reference, "10.json")["code"] == code == published(reference)["metadata"]["manifold"]["code"]
    node = published(reference)
    assert set(node["metadata"]) <= {"kernelspec", "language_info", "manifold"}
    assert [c["cell_type"] for c in node["cells"]] == ["markdown", "code", "code", "code"]
    assert "execution" not in node["cells"][-1]["metadata"]
    nbformat.validate(nbformat.read(reference / "smoke" / "10_make.ipynb", as_version=4))
    assert not stale(reference / "smoke", edition.book), "chapter 60 is left out at this profile, and so not missed"


def test_nothing_of_this_machine_is_published(edition, reference, tmp_path):
    place(edition, "10_make", stream(f"atlas: {edition.atlas}\n"), shown({"text/html": f"<td>{tmp_path}/data/x</td>"}))
    publish(edition, reference)
    assert [o.get("text") for o in outputs(reference)][0] == ["atlas: data/atlases/smoke\n"]
    assert outputs(reference)[1]["data"]["text/html"] == ["<td>data/x</td>"]
    note = published(reference, "10.json")["results"]["number"]["note"]
    assert note == "from data/atlases/smoke/points.parquet"
    injected = "".join(published(reference)["cells"][2]["source"])
    assert injected == '# Parameters\nprofile = "smoke"\ngrid = "main"'
    everything = "".join(path.read_text() for path in (reference / "smoke").iterdir())
    assert str(tmp_path) not in everything and "papermill" not in everything


@pytest.mark.parametrize(
    "output",
    [
        stream("saved to /home/somebody/book/figure.png\n"),
        shown({"text/html": "<a href='/scratch/me/run.csv'>run</a>"}),
        shown({"text/plain": "PosixPath('/Users/me/data')"}),
    ],
)
def test_other_paths_are_refused_before_anything_is_written(edition, reference, output):
    place(edition, "10_make", output)
    with pytest.raises(ValueError, match="10_make.ipynb has a path of this machine.*'/(home|scratch|Users)/"):
        publish(edition, reference)
    assert not reference.exists()


@pytest.mark.parametrize(
    "text", ["see https://example.org/home/page", "0.3/tmp/x, 1/2/3", "</div></td>", "in /usr/share/datasets/fashion"]
)
def test_what_is_no_path_of_a_machine_is_left_alone(edition, reference, text):
    place(edition, "10_make", stream(text))
    publish(edition, reference)
    assert outputs(reference)[0]["text"] == [text]


def test_noise_is_dropped_and_an_interactive_figure_becomes_a_line(edition, reference):
    plotly = {"application/vnd.plotly.v1+json": {"data": list(range(10_000)), "layout": {}}, "text/plain": "Figure"}
    script = {"text/html": "<div><script>draw()</script></div>", "text/plain": "HTML"}
    table = {"text/html": "<div>\n<style scoped>\n .x { }\n</style>\n<table></table></div>", "text/plain": "x"}
    place(edition, "10_make", stream("50%|###", "stderr"), shown(plotly), shown(script), shown(table))
    publish(edition, reference)
    first, second, third = outputs(reference)
    for output in (first, second):
        text = "".join(output["data"]["text/markdown"])
        assert text == "".join(output["data"]["text/plain"]).join("**") and "make book PROFILE=smoke" in text
        assert set(output["data"]) == {"text/markdown", "text/plain"}
    assert "".join(third["data"]["text/html"]) == "<div>\n<table></table></div>"
    assert len((reference / "smoke" / "10_make.ipynb").read_text()) < 5000


def test_pictures_become_small_and_keep_their_alt_text(edition, reference):
    place(edition, "10_make", shown({"image/png": figure(), "text/plain": "<Figure>"}, {"image/png": ALT}))
    publish(edition, reference)
    (output,) = outputs(reference)
    assert output["metadata"] == {"image/png": ALT} and output["data"]["text/plain"]
    picture = Image.open(io.BytesIO(base64.b64decode("".join(output["data"]["image/png"]))))
    assert picture.size == (900, 900) and picture.mode == "P"
    whole = shown({"image/png": figure(2000)})
    place(edition, "10_make", whole)
    publish(edition, reference)
    assert len("".join(outputs(reference)[0]["data"]["image/png"])) < len(whole.data["image/png"])


def test_a_rare_colour_stays_itself():
    """Six families are told apart by colour, and a family may have a few points in a figure full of others."""
    fig, ax = plt.subplots(figsize=(6, 4), dpi=100)
    x, y = np.random.default_rng(0).normal(size=(2, 2000))
    ax.scatter(x, y, c=x, s=20, alpha=0.5)
    families = [style[0] for style in list(plots.ARCHITECTURE_STYLE.values())[:6]]
    for k, colour in enumerate(families):
        ax.plot(k - 2.5, 4.5, "o", color=colour, ms=5)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    plt.close(fig)
    mime, data = small_picture(buffer.getvalue(), 900)
    before, after = (
        np.asarray(Image.open(io.BytesIO(b)).convert("RGB")).astype(int) for b in (buffer.getvalue(), data)
    )
    assert mime == "image/png" and len(data) < 0.7 * len(buffer.getvalue()) and before.shape == after.shape
    for colour in families:
        here = (before == ImageColor.getrgb(colour)).all(axis=2)
        assert here.sum() >= 10 and np.abs(after[here] - ImageColor.getrgb(colour)).max() <= 16, colour


def test_a_photograph_becomes_a_jpeg_and_transparency_white():
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((800, 600), Image.Resampling.BICUBIC))
    photo = Image.fromarray((smooth * 0.9 + rng.integers(0, 25, (600, 800, 3))).astype(np.uint8))
    buffer = io.BytesIO()
    photo.save(buffer, "PNG")
    mime, data = small_picture(buffer.getvalue(), 400)
    assert mime == "image/jpeg" and Image.open(io.BytesIO(data)).size == (400, 300)
    clear = io.BytesIO()
    Image.new("RGBA", (50, 40), (0, 0, 0, 0)).save(clear, "PNG")
    mime, data = small_picture(clear.getvalue(), 400)
    whites = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert whites.shape == (40, 50, 3) and (whites == 255).all(), "small pictures are not enlarged"


def test_pictures_get_narrower_until_the_budget_is_kept(edition, reference):
    place(edition, "10_make", shown({"image/png": figure(noise=True)}))
    wide = publish(edition, reference)
    narrow = publish(edition, reference, budget=sum(wide.sizes.values()) // 2)
    assert wide.width == 900 > narrow.width and sum(narrow.sizes.values()) <= sum(wide.sizes.values()) // 2
    assert sum(path.stat().st_size for path in (reference / "smoke").iterdir()) == sum(narrow.sizes.values())
    before = {path.name: path.read_bytes() for path in (reference / "smoke").iterdir()}
    with pytest.raises(ValueError, match=r"even with pictures 400 pixels wide.* largest files: 10_make.ipynb \(0"):
        publish(edition, reference, budget=20_000)
    assert {path.name: path.read_bytes() for path in (reference / "smoke").iterdir()} == before


def test_files_of_others_count_for_the_budget(edition, reference):
    publish(edition, reference)
    (reference / "smoke" / "film.bin").write_bytes(bytes(50_000))
    with pytest.raises(ValueError, match=r"The largest files: film.bin \(0.05 MB\)"):
        publish(edition, reference, budget=50_000)


def test_only_stamped_files_are_replaced_or_removed(edition, reference):
    publish(edition, reference)
    folder = reference / "smoke"
    shutil.copy(folder / "10_make.ipynb", folder / "10_old_name.ipynb")
    nbformat.write(source("mine"), folder / "mine.ipynb")
    (folder / "notes.txt").write_text("mine")
    (folder / "data.json").write_text("[1]")
    publish(edition, reference)
    assert {path.name for path in folder.iterdir()} == ALL | {"mine.ipynb", "notes.txt", "data.json"}
    nbformat.write(source("mine"), folder / "10_make.ipynb")
    with pytest.raises(ValueError, match="not published from an atlas: 10_make.ipynb; move them"):
        publish(edition, reference)
    assert "manifold" not in published(reference)["metadata"]


def test_what_a_killed_call_left_is_tidied_up_and_the_same_atlas_gives_the_same_files(edition, reference):
    publish(edition, reference)
    whole = (reference / "smoke" / "20_spaces-main.ipynb").read_bytes()
    (reference / "smoke" / ".tmp-1234-10.json").write_text("{half")
    publish(edition, reference)
    assert {path.name for path in (reference / "smoke").iterdir()} == ALL
    assert (reference / "smoke" / "20_spaces-main.ipynb").read_bytes() == whole


def change(edition, name, text="print('other')"):
    path = edition.book.folder / f"{name}.ipynb"
    node = nbformat.read(path, as_version=4)
    node.cells[-1].source = text
    nbformat.write(node, path)


def test_what_was_run_with_other_code_is_left_out_and_becomes_stale(edition, reference):
    publish(edition, reference)
    change(edition, "20_spaces")
    (edition.output / "10_make.ipynb").rename(edition.output / "10_make.failed.ipynb")
    with pytest.raises(ValueError, match="no chapter is finished"):
        publish(edition, reference)
    (edition.output / "10_make.failed.ipynb").rename(edition.output / "10_make.ipynb")
    done = publish(edition, reference)
    assert done.left_out == dict.fromkeys(JOBS[1:], "its code has changed since it was run")
    assert "left out 20_spaces-main: its code has changed" in str(done)
    found = stale(reference / "smoke", edition.book)
    assert found == {"20": "20.json was made by other code"}
    assert how_to_mend(reference / "smoke", found) == (
        "python -m manifold_utils run --profile smoke 20 && python -m manifold_utils publish --profile smoke"
    )


def test_stale_names_what_is_missing(edition, reference):
    publish(edition, reference)
    (reference / "smoke" / "20_spaces-sizes.ipynb").unlink()
    for path in (reference / "smoke").glob("10*"):
        path.unlink()
    assert stale(reference / "smoke", edition.book) == {
        "10": "not published",
        "20": "20_spaces-sizes.ipynb is missing",
    }
    assert set(stale(reference / "no_profile", edition.book)) == {"10", "20", "60"}, "nothing is known to be left out"


def test_new_prose_reaches_the_published_notebook_without_a_run(edition, reference):
    path = edition.book.folder / "10_make.ipynb"
    node = nbformat.read(path, as_version=4)
    node.cells[0].source = "# A better question?"
    nbformat.write(node, path)
    publish(edition, reference)
    assert published(reference)["cells"][0]["source"] == ["# A better question?"]
    assert outputs(reference)[0]["text"] == ["1 2 3\n"]


def test_the_command_publishes_and_says_what_next(edition, reference, monkeypatch, capsys):
    from manifold_utils import __main__ as command

    monkeypatch.setattr(command, "Edition", lambda *given, **options: edition)
    monkeypatch.setattr(command.publishing.publish, "__defaults__", (reference, publishing.BUDGET))
    assert command.main(["publish", "--profile", "smoke"]) == 0
    text = capsys.readouterr().out
    assert "5 files" in text and "python -m manifold_utils readme" in text
    assert "something they use has changed since they ran" in text and f"says what): {', '.join(JOBS)}" in text
