"""Goal: every example in docs/aggregates-guide.md gives the rows that stand below it."""
import pathlib
import re

from product import FOLDER, claim, end, millrace

GUIDE = (pathlib.Path(__file__).resolve().parents[2] / "docs/aggregates-guide.md").read_text()
WINDOWS = ["TUMBLE(", "'Europe/Berlin'", "HOP(", "CUMULATE(", "SESSION(", "FROM input"]


def indented(text, by):
    return "".join(" " * by + line + "\n" for line in text.splitlines())


def rows_of(table):
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
    return "".join("          - {" + ", ".join(f"{name}: {cell}" for name, cell in zip(header, row, strict=True)) + "}\n" for row in rows)


def main():
    pipeline, tests = re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.S | re.M)
    (FOLDER / "shop.yaml").write_text(pipeline)
    (FOLDER / "shop.test.yaml").write_text(tests)
    claim("1 passed, 0 failed" in millrace("test", "shop.test.yaml").stdout, "the test that the guide begins with passes")
    (FOLDER / "shop.test.yaml").write_text(re.sub(r"        views:\n.*", "        views: []\n", tests, flags=re.S))
    claim(millrace("test", "shop.test.yaml", code=1).stdout.count("a row that is not expected") == 4, "and shows all rows if none is expected")

    examples = re.findall(r"^### ([^\n]*)\n(?:(?!^#).)*?^```sql\n(.*?)^```\n\n((?:^\|[^\n]*\n)+)", GUIDE, re.S | re.M)
    titles = re.findall(r"^### (.*)", GUIDE, re.M)
    claim([title for title, *_ in examples] == titles and len(re.findall("^```sql", GUIDE, re.M)) == len(titles),
          "an example with its rows under each heading", titles)
    for window in WINDOWS:
        claim(any(window in sql for _, sql, _ in examples), f"an example of {window}")
    aggregates = "".join(f"  - name: example_{i}\n    sql: |\n{indented(sql, 6)}" for i, (_, sql, _) in enumerate(examples))
    expected = "".join(f"        # {title}\n        example_{i}:\n{rows_of(table)}" for i, (title, _, table) in enumerate(examples))
    (FOLDER / "shop.yaml").write_text(re.sub(r"^aggregates:\n.*?(?=^lake)", lambda _: "aggregates:\n" + aggregates, pipeline, flags=re.S | re.M))
    (FOLDER / "shop.test.yaml").write_text(re.sub(r"        views:\n.*", lambda _: expected, tests, flags=re.S))
    claim("1 passed, 0 failed" in millrace("test", "shop.test.yaml").stdout, "each example gives its rows")
    end()


main()
