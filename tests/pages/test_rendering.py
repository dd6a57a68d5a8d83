from pathlib import Path

import jinja2

from addressvlm.pages.rendering import write_page


def test_leftovers_of_a_killed_write_of_the_same_page_are_removed(tmp_path: Path) -> None:
    for name in (".show.html.123.tmp", ".other.html.123.tmp"):
        (tmp_path / name).touch()
    environment = jinja2.Environment(loader=jinja2.DictLoader({"page": "{{ words }}"}), autoescape=True)
    write_page(tmp_path / "show.html", environment, "page", words="<")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.html.123.tmp", "show.html"]
    assert (tmp_path / "show.html").read_text() == "&lt;"
