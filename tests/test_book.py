"""The runner, twins, student edition and pages, on a tiny book made in a temporary folder."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import pytest

from manifold_utils.book import BookFailed, Edition, Quiet, book_status, run_book, twins
from manifold_utils.book.contents import Book, check_parameters, declared_parameters, read_notebook
from manifold_utils.book.dependencies import imported_modules
from manifold_utils.book.pages import build_html, page
from manifold_utils.book.student import for_students, write_student_edition

PARAMETERS = """profile = "digits"  # which profile
data_dir = ""  # folder of data
level = 0.5  # a float
count = 3  # an int
loud = False  # a bool
grid = "main"  # a matrix parameter"""
PATHS = """from pathlib import Path
folder = Path(data_dir) / "atlases" / profile / "figures\""""
MAKE = """folder.mkdir(parents=True, exist_ok=True)
(folder / f"10_{grid}.txt").write_text(f"{level} {count} {loud}")"""
BOOK = """title: A tiny book
chapters:
- {id: "10", notebook: 10_make, title: Make, kind: make, makes: ["figures/10_*.txt"], matrix: {grid: [a, b]}}
- {id: "40", notebook: 40_show, title: Show, kind: show, needs: ["10"]}
- {id: "60", notebook: 60_beyond, title: Beyond, kind: beyond}
"""
ALL = ["10_make-a", "10_make-b", "40_show", "60_beyond"]


def text_twin(question, *cells):
    """Text of a py:percent twin with a title, a parameters cell, and code cells (a pair is source and tag)."""
    parts = [f"# %% [markdown]\n# # {question}", f'# %% tags=["parameters"]\n{PARAMETERS}', f"# %%\n{PATHS}"]
    for cell in cells:
        source, tag = cell if isinstance(cell, tuple) else (cell, "")
        parts.append(f'# %% tags=["{tag}"]\n{source}' if tag else f"# %%\n{source}")
    return "\n\n".join(parts) + "\n"


def write(folder, name, *cells, question="What is this?"):
    (folder / f"{name}.py").write_text(text_twin(question, *cells), encoding="utf-8")
    twins.sync(folder, source="py")


@pytest.fixture
def tiny(tmp_path):
    """Folder of a book of three chapters; the atlas goes to tmp_path / "data"."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "book.yaml").write_text(BOOK, encoding="utf-8")
    write(folder, "10_make", MAKE)
    write(folder, "40_show", "text = sorted(p.read_text() for p in folder.glob('*.txt'))", "print(text)")
    write(folder, "60_beyond", "print('beyond')", ("answer = 42", "solution"), ("assert answer == 42", "check"))
    return folder


@pytest.fixture
def run(tiny, tmp_path):
    """`run_book` on the tiny book, giving {job: status}."""

    def call(chapters=None, **options):
        given = {name: options.pop(name) for name in ("parameters", "client") if name in options}
        edition = Edition("smoke", data_dir=str(tmp_path / "data"), folder=tiny, **given)
        outcomes = run_book(edition, chapters, **options)
        return {outcome.job: outcome.status for outcome in outcomes}

    return call


@pytest.fixture
def executed(tmp_path):
    return tmp_path / "data" / "atlases" / "smoke" / "notebooks"


def _sources(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_jobs_run_once_then_are_skipped_and_sources_stay(run, tiny, executed):
    before = _sources(tiny)
    assert run(jobs=2) == dict.fromkeys(ALL, "ran")
    assert run() == dict.fromkeys(ALL, "skipped")
    assert _sources(tiny) == before
    shown = read_notebook(executed / "40_show.ipynb")
    assert "['0.5 3 False', '0.5 3 False']" in shown.cells[-1].outputs[0].text
    assert "papermill" in shown.metadata and "input_path" not in shown.metadata.papermill
    assert not list(executed.glob(".tmp-*"))


def test_what_changed_is_run_again_with_what_depends_on_it(run, tiny, executed):
    run(jobs=2)
    write(tiny, "40_show", "print('other code')")
    assert run() == {**dict.fromkeys(ALL, "skipped"), "40_show": "ran"}
    again = run(parameters={"count": 4}, chapters=["40"])
    assert again == {"10_make-a": "ran", "10_make-b": "ran", "40_show": "ran"}
    assert (executed.parent / "figures" / "10_a.txt").read_text() == "0.5 4 False"
    (executed.parent / "figures" / "10_a.txt").unlink()
    (executed.parent / "figures" / "10_b.txt").unlink()
    edition = Edition("smoke", data_dir=str(executed.parents[2]), folder=tiny)
    states = {name: reason for name, _, reason in book_status(edition)}
    assert "is missing" in states["10_make-a"]


def test_new_prose_does_not_execute_anything_but_reaches_the_page(run, tiny, executed, monkeypatch):
    run(["60"])
    write(
        tiny,
        "60_beyond",
        "print('beyond')",
        ("answer = 42", "solution"),
        ("assert answer == 42", "check"),
        question="New?",
    )
    assert run(["60"]) == {"60_beyond": "refreshed"}
    node = read_notebook(executed / "60_beyond.ipynb")
    assert node.cells[0].source == "# New?"
    assert [c.outputs[0].text for c in node.cells if c.get("outputs")] == ["beyond\n"]
    assert run(["60"]) == {"60_beyond": "skipped"}
    path = executed / "60_beyond.ipynb"
    path.write_text(path.read_text().replace('"beyond\\n"', '"beyonc\\n"'))
    edition = Edition("smoke", data_dir=str(executed.parents[2]), folder=tiny)
    assert "damaged, or was edited" in {name: reason for name, _, reason in book_status(edition)}["60_beyond"]
    monkeypatch.setattr(type(edition), "executed_path", lambda self, job: path)
    monkeypatch.setattr(type(edition), "record_path", lambda self, job: path.with_suffix(".json"))
    with pytest.raises(ValueError, match="damaged, or edited since it ran: .*60_beyond.ipynb.*make run"):
        build_html(edition, tiny / "pages")
    monkeypatch.undo()
    assert run(["60"]) == {"60_beyond": "ran"}


def test_force_runs_the_named_chapters_only(run):
    run(jobs=2)
    assert run(["40"], force=True) == {"10_make-a": "skipped", "10_make-b": "skipped", "40_show": "ran"}
    assert run(["40"], only=True) == {"40_show": "skipped"}


def test_a_failure_names_the_cell_keeps_the_notebook_and_blocks_only_what_depends_on_it(run, tiny, executed):
    write(tiny, "10_make", MAKE, "1 / (grid != 'a')")
    with pytest.raises(BookFailed, match="10_make-a, 40_show") as failure:
        run(jobs=2)
    outcomes = {outcome.job: outcome for outcome in failure.value.outcomes}
    assert [outcomes[name].status for name in ALL] == ["failed", "ran", "blocked", "ran"]
    message = outcomes["10_make-a"].message
    assert "10_make.ipynb, cell 5 of 5, section 'What is this?'" in message
    assert "1 / (grid != 'a')" in message and "ZeroDivisionError" in message
    assert (executed / "10_make-a.failed.ipynb").is_file() and not (executed / "10_make-a.json").exists()
    write(tiny, "10_make", MAKE)
    assert run(jobs=2)["10_make-a"] == "ran"
    assert not (executed / "10_make-a.failed.ipynb").exists()


def test_a_killed_kernel_is_reported_as_such(run, tiny):
    write(tiny, "60_beyond", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(BookFailed) as failure:
        run(["60"])
    message = failure.value.outcomes[0].message
    assert "the kernel died" in message and "cell 4 of 4" in message


def test_a_promise_that_is_not_kept_is_a_failure(run, tiny):
    (tiny / "book.yaml").write_text(BOOK.replace("figures/10_*.txt", "figures/10_*.png"), encoding="utf-8")
    with pytest.raises(BookFailed) as failure:
        run(["10"])
    assert (
        "should have made all that book.yaml lists, but figures/10_*.png is missing"
        in failure.value.outcomes[0].message
    )


def test_artefacts_of_a_prediction_space_lie_in_its_own_folder(run, tiny, executed):
    """A job of one space is not done because another space has what it should have made, and the other way round."""
    book = tiny / "book.yaml"
    book.write_text(BOOK.replace("{grid: [a, b]}", "{grid: spaces}").replace("10_*.txt", "10_*.done"))
    write(tiny, "10_make", "home = folder.parent / ('spaces/' + grid if grid else '')",
          "(home / 'figures').mkdir(parents=True, exist_ok=True)",
          "_ = (home / 'figures' / '10_x.done').write_text('done')")  # fmt: skip
    assert set(run(["10"]).values()) == {"ran"}
    (executed.parent / "spaces" / "sloppy_05" / "figures" / "10_x.done").unlink()
    assert run(["10"]) == {"10_make": "skipped", "10_make-sloppy_05": "ran", "10_make-sloppy_0001": "skipped"}


def test_a_chapter_about_a_grid_that_the_profile_lacks_is_left_out_aloud(tiny, tmp_path):
    book = tiny / "book.yaml"
    book.write_text(BOOK.replace("kind: beyond", "kind: beyond, grids: [nowhere], seeds: 3"))
    data_dir, told = str(tmp_path / "data"), []

    class Listener(Quiet):
        def left_out(self, chapter, lacking):
            told.append((chapter, lacking))

    edition = Edition("smoke", data_dir=data_dir, folder=tiny)
    outcomes = run_book(edition, listener=Listener())
    assert [o.job for o in outcomes if o.job.startswith("60")] == []
    assert told == [("60_beyond", ["the grid nowhere", "3 seeds, or other repeats, of a configuration (it has 2)"])]
    with pytest.raises(ValueError, match="chapter 60 needs the grid nowhere, 3 seeds"):
        run_book(edition, ["60"])
    assert "Left out, since this profile does not have what they are about: Beyond." in (
        build_html(edition).read_text(encoding="utf-8")
    )


def test_a_second_runner_is_refused(run, executed):
    import fcntl

    executed.mkdir(parents=True)
    with open(executed / ".runner", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(RuntimeError, match="another run of the book"):
            run()


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"levle": 1.0}, "did you mean 'level'"),
        ({"level": "1e-3"}, "a str, but its default 0.5 is a float"),
        ({"count": True}, "a bool, but its default 3 is a int"),
        ({"count": 2.0}, "a float, but its default 3 is a int"),
        ({"loud": 1}, "a int, but its default False is a bool"),
    ],
)
def test_unknown_names_and_other_types_are_refused_before_anything_runs(run, executed, values, complaint):
    with pytest.raises(ValueError) as error:
        run(parameters=values)
    assert complaint in str(error.value) or "no chapter to run has a parameter" in str(error.value)
    assert not executed.exists()


def test_check_parameters_reads_the_types_of_the_defaults(tiny):
    notebook = tiny / "60_beyond.ipynb"
    checked = check_parameters(notebook, {"level": 2, "count": 5})
    assert checked == {"level": 2.0, "count": 5} and isinstance(checked["level"], float)
    assert declared_parameters(notebook)["grid"] == "main"
    with pytest.raises(ValueError, match="did you mean 'level'"):
        check_parameters(notebook, {"levle": 1.0})
    cell = nbformat.v4.new_code_cell("x = 2 * 3", metadata={"tags": ["parameters"]})
    with pytest.raises(ValueError, match="not a literal"):
        declared_parameters(nbformat.v4.new_notebook(cells=[cell]))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("needs: [", "neds: [", "chapters.1.neds"),
        ('needs: ["10"]', 'needs: ["77"]', "needs 77, which is not a chapter"),
        ("kind: beyond", 'kind: beyond, needs: ["60"]', "circle: 60 -> 60"),
        ("60_beyond", "60_absent", "does not exist"),
        ('id: "60"', 'id: "61"', "is not the number"),
    ],
)
def test_a_broken_book_file_is_one_clear_error(tiny, old, new, complaint):
    (tiny / "book.yaml").write_text(BOOK.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match="book.yaml") as error:
        Book(tiny)
    assert complaint in str(error.value)


def test_modules_are_followed_through_imports():
    found = imported_modules(["%matplotlib inline\nfrom manifold_utils.book.twins import sync"])
    assert {"book.twins", "book.contents", "files"} <= set(found) and "book.jobs" not in found
    assert imported_modules(["import numpy"]) == {}


def test_a_broken_kernelspec_of_the_user_does_not_matter(run, tmp_path, monkeypatch):
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(
        json.dumps({"argv": ["/nowhere/python"], "display_name": "x", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    assert run(["60"]) == {"60_beyond": "ran"}


def test_plain_papermill_works_from_another_folder(tiny, tmp_path):
    command = [sys.executable, "-m", "papermill", str(tiny / "60_beyond.ipynb"), "out.ipynb", "-p", "profile", "smoke"]
    done = subprocess.run([*command, "-k", "python3"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.ipynb").is_file()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_an_interrupt_ends_the_kernels_and_the_next_call_goes_on(tiny, tmp_path, run, executed, number, status):
    note = tmp_path / "pid"
    write(tiny, "60_beyond", f"import os, time\nPath({str(note)!r}).write_text(str(os.getpid()))", "time.sleep(600)")
    code = (
        "import sys; from manifold_utils import __main__ as m, book\n"
        f"book.Edition.__init__.__kwdefaults__['folder'] = {str(tiny)!r}\n"
        f"sys.exit(m.main(['run', '60', '--profile', 'smoke', '--data-dir', {str(tmp_path / 'data')!r}]))"
    )
    command = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-c", code]  # as `make book &` in a script
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        _wait_for(lambda: note.is_file() and note.read_text())
        kernel = int(note.read_text())
        driver.send_signal(number)
        driver.communicate(timeout=60)
        assert driver.returncode == status
        _wait_for(lambda: not _alive(kernel))
    finally:
        driver.kill()
    assert not (executed / "60_beyond.json").exists() and not (executed / "60_beyond.ipynb").exists()
    write(tiny, "60_beyond", "print('short')")
    assert run(["60"]) == {"60_beyond": "ran"}
    assert not list(executed.glob(".tmp-*"))


def _wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def _alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{process}/stat") as handle:  # a zombie whose parent has not asked yet is dead
        return handle.read().rsplit(")", 1)[1].split()[0] != "Z"


def test_twins_agree_by_content_and_sync_mends_from_the_edited_side(tiny):
    assert twins.problems(tiny) == []
    notebook, text = tiny / "60_beyond.ipynb", tiny / "60_beyond.py"
    node = read_notebook(notebook)
    node.cells[3].outputs = [nbformat.v4.new_output("stream", text="left over")]
    node.cells[3].execution_count = 7
    nbformat.write(node, notebook)
    assert "has outputs" in twins.problems(tiny)[0]
    twins.sync(tiny)
    assert twins.problems(tiny) == [] and not read_notebook(notebook).cells[3].outputs
    text.write_text(text.read_text().replace("beyond", "further"))
    assert "cell 4" in twins.problems(tiny)[0]
    os.utime(text, (0, time.time() + 10))
    twins.sync(tiny)
    assert twins.problems(tiny) == [] and "further" in notebook.read_text()
    twins.sync(tiny)
    text.write_text(text.read_text().replace("further", "away"))
    twins.sync(tiny, source="ipynb")
    assert "further" in text.read_text()


def test_the_side_that_differs_from_the_last_commit_wins_even_if_it_is_older(tiny):
    git = ["git", "-C", str(tiny), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *arguments], check=True)
    text = tiny / "60_beyond.py"
    text.write_text(text.read_text().replace("beyond", "further"))
    os.utime(text, (0, 1000))
    twins.sync(tiny)
    assert "further" in text.read_text() and "further" in (tiny / "60_beyond.ipynb").read_text()


def test_cell_ids_depend_on_content_alone(tiny):
    first = read_notebook(tiny / "60_beyond.ipynb")
    (tiny / "60_beyond.ipynb").unlink()
    twins.sync(tiny)
    second = read_notebook(tiny / "60_beyond.ipynb")
    assert [c.id for c in first.cells] == [c.id for c in second.cells]
    assert len({c.id for c in first.cells}) == len(first.cells)


def test_student_edition_has_checks_but_no_solutions(tiny, tmp_path):
    paths = write_student_edition(tmp_path / "student", tiny)
    assert [p.name for p in paths] == ["10_make.ipynb", "40_show.ipynb", "60_beyond.ipynb"]
    text = paths[-1].read_text()
    assert "answer = 42" not in text and "assert answer == 42" in text and "Your turn" in text
    assert len(for_students(read_notebook(tiny / "60_beyond.ipynb")).cells) == 6
    with pytest.raises(ValueError, match="overwrite"):
        write_student_edition(tiny, tiny)


def test_pages_need_no_network(run, tiny, tmp_path):
    write(tiny, "40_show", "import plotly.graph_objects as go", "go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))")
    with pytest.raises(ValueError, match="not run yet"):
        build_html(Edition("smoke", data_dir=str(tmp_path / "data"), folder=tiny))
    run(jobs=2)
    index = build_html(Edition("smoke", data_dir=str(tmp_path / "data"), folder=tiny))
    pages = {path.stem: path.read_text() for path in index.parent.glob("*.html")}
    assert {*ALL, "index", "search"} <= set(pages)
    assert not remote_resources(index.parent)
    assert "Plotly.newPlot" in pages["40_show"] and (index.parent / "_static" / "plotly.min.js").is_file()
    assert "Show a solution" in pages["60_beyond"] and "injected-parameters" not in pages["60_beyond"]
    assert "Beyond the paper" in pages["index"]


def remote_resources(folder):
    """Scripts, styles, pictures and fonts that a folder's pages would fetch from the network."""
    tag = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[\"'](?:https?:)?//[^\"']*", re.I)
    style = re.compile(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^\"')]*", re.I)
    # the explorer's library quotes such a tag in a message: a browser sees what that page really asks for
    pages = [path for path in folder.glob("*.html") if path.name != "explore.html"]
    found = [hit for path in pages for hit in tag.findall(path.read_text(encoding="utf-8"))]
    return found + [hit for path in folder.rglob("*.css") for hit in style.findall(path.read_text(encoding="utf-8"))]


def test_a_malformed_page_is_an_error_that_quotes_sphinx(run, tiny, tmp_path):
    (tiny / "book.yaml").write_text(BOOK.split("- {")[0] + "- {" + BOOK.split("- {")[-1], encoding="utf-8")
    path = tiny / "60_beyond.py"
    path.write_text(path.read_text().replace("# # What is this?", "# # What is this?\n# [nowhere](99_nowhere.ipynb)"))
    twins.sync(tiny, source="py")
    run()
    with pytest.raises(RuntimeError, match="99_nowhere"):
        build_html(Edition("smoke", data_dir=str(tmp_path / "data"), folder=tiny))


HOSTILE = {
    "```{{literalinclude}} {secret}\n```": "directive 'literalinclude' is off",
    "```{{include}} {secret}\n```": "directive 'include' is off",
    "````{{note}}\n```{{parsed-literal}}\n:class: nested\n{secret}\n```\n````": "directive 'parsed-literal' is off",
    "```{{raw}} html\n:file: {secret}\n```": "directive 'raw' is off",
    "```{{csv-table}}\n:file: {secret}\n```": "directive 'csv-table' is off",
    "```{{eval-rst}}\n.. topic:: x\n\n   .. include:: {secret}\n```": "directive 'topic' is off",
    "```{{eval-rst}}\n.. |x| image:: {secret}\n\n|x|\n```": "directive 'image' is off",
    "```{{figure}} {secret}\n```": "directive 'figure' is off",
    "![x]({secret})": "image file not readable",  # Sphinx looks for it below its own folder
    "![x](../../../../../../..{secret}?1)": "secret.txt?1",
    "![x](../../../../../..{secret})": "the file '../../../../../..{secret}'",
    "{{download}}`x <{secret}>`": "download file not readable",
    "{{download}}`x <../../../../../..{secret}>`": "the file '../../../../../..{secret}'",
    "[x](../../../../../../..{secret})": "the file '../../../../../../..{secret}'",
}


def test_no_file_of_this_machine_gets_into_a_page(tiny, tmp_path):
    """Whatever an executed notebook from elsewhere asks for, the build ends with an error that names it."""
    (tiny / "book.yaml").write_text(BOOK.split("- {")[0] + "- {" + BOOK.split("- {")[-1], encoding="utf-8")
    secret, edition = tmp_path / "secret.txt", Edition("smoke", data_dir=str(tmp_path / "data"), folder=tiny)
    secret.write_text("hunter2")
    edition.output.mkdir(parents=True)
    executed = read_notebook(tiny / "60_beyond.ipynb")
    executed.cells += [nbformat.v4.new_markdown_cell(text.format(secret=secret)) for text in HOSTILE]
    nbformat.write(executed, edition.executed_path(edition.jobs(edition.book.chapters[0])[0]))
    with pytest.raises(RuntimeError) as caught:
        build_html(edition, tmp_path / "pages")
    said = str(caught.value)
    assert [expected for expected in HOSTILE.values() if expected.format(secret=secret) not in said] == [], said
    assert "hunter2" not in said and not (tmp_path / "pages").exists()


def test_foreign_scripts_and_settings_do_not_get_into_a_page(run, tiny, tmp_path):
    (tiny / "book.yaml").write_text(BOOK.split("- {")[0] + "- {" + BOOK.split("- {")[-1], encoding="utf-8")
    edition, owned = Edition("smoke", data_dir=str(tmp_path / "data"), folder=tiny), tmp_path / "owned"
    edition.output.mkdir(parents=True)
    node, evil = read_notebook(tiny / "60_beyond.ipynb"), "<script>alert('evil')</script>"
    node.metadata["mystnb"] = {"execution_mode": "force"}
    node.cells.insert(1, nbformat.v4.new_markdown_cell(f"words $x^2$ <img src=x onerror=evil()> {evil}"))
    shown = {"text/html": f"<table class='k' onload='evil()'><tr><td>kept</td></tr></table>{evil}<iframe src=evil>"}
    figure = {"application/vnd.plotly.v1+json": {"data": [{"name": "ours"}], "layout": {"height": "321"}}}
    outputs = [nbformat.v4.new_output("display_data", data=data) for data in (
        shown, {"application/javascript": "evil()"}, {"text/markdown": evil}, {"image/svg+xml": f"<svg>{evil}</svg>"},
        figure,
    )]  # fmt: skip
    node.cells.append(nbformat.v4.new_code_cell(f"open({str(owned)!r}, 'w')", outputs=outputs))
    nbformat.write(node, edition.executed_path(edition.jobs(edition.book.chapters[0])[0]))
    text = (build_html(edition, tmp_path / "pages").parent / "60_beyond.html").read_text(encoding="utf-8")
    assert {"pages", "jupyter_execute"} & {path.name for path in tmp_path.iterdir()} == {"pages"}
    assert '"load": ["ui/safe"]' in text and "tex2jax_ignore" in text  # MathJax's own guard, beside what MyST sets
    assert not owned.exists() and "kept" in text and "words" in text and 'name": "ours' in text
    article = text.split("<article", 1)[1].split("</article>", 1)[0]
    scripts = re.findall(r"<script\b.*?</script>", article, re.S)
    assert [s for s in scripts if "Plotly.newPlot" in s] and not [s for s in scripts if "evil" in s]
    assert not re.search(r"<(iframe|img)\b[^>]*(evil|onerror)|<[a-z]+ [^>]*onload", article)


def test_a_figure_cannot_end_its_script_early():
    data = {"application/vnd.plotly.v1+json": {"data": [{"name": "</script>"}], "layout": {"height": 321}}}
    output = nbformat.v4.new_output("display_data", data=data)
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output])])
    html = page(node).cells[0].outputs[0].data["text/html"]
    assert html.count("</script>") == 1 and "321px" in html


@pytest.mark.parametrize("given", ["argument", "variable"])
def test_a_relative_data_folder_is_meant_from_where_the_command_was_called(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MANIFOLD_DATA", raising=False)
    if given == "variable":
        monkeypatch.setenv("MANIFOLD_DATA", "here/data")
    edition = Edition("smoke", data_dir="here/data" if given == "argument" else "")
    assert edition.given["data_dir"] == str(tmp_path / "here" / "data")
    assert edition.atlas == tmp_path / "here" / "data" / "atlases" / "smoke"
    monkeypatch.delenv("MANIFOLD_DATA", raising=False)
    assert Edition("smoke").given["data_dir"] == "", "the project's own folder needs no words"
