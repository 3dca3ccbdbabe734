#!/usr/bin/env python3
"""That the table of the benchmarks says what is in its files, and which earlier run is the one before."""
import contextlib
import io
import json
import pathlib
import tempfile
import unittest

import table


class Table(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, document):
        (self.folder / name).write_text(json.dumps(document))

    def run_of(self, date, value, cores=2):
        return {"date": date, "machine": {"cores": cores},
                "figures": [{"name": "kill -9 to caught up", "unit": "s", "value": value, "goal": 1, "less_is_better": True, "peer": None}]}

    def test_figures_are_found_with_their_peers_and_what_is_not_there_is_left_out(self):
        self.write("restart.json", {"caught_up_s": 0.5})
        self.write("stages.json", {"edge": {"ours": 0.2, "librdkafka": 0.4}})
        found = {figure["name"]: (figure["value"], figure["peer"]) for figure in table.figures_of(self.folder)}
        self.assertEqual(found, {"kill -9 to caught up": (0.5, None), "client edge, per million (peer: librdkafka)": (0.2, 0.4)})

    def test_a_quotient_is_of_two_files_and_left_out_where_one_is_not_there(self):
        self.write("bench.json", {"cost": {"millrace": {"cpu_s_per_million": 0.6}}})
        name = "our CPU to that of librdkafka alone"
        self.assertNotIn(name, {figure["name"] for figure in table.figures_of(self.folder)})
        self.write("stages.json", {"edge": {"librdkafka": 0.4}})
        found = {figure["name"]: figure["value"] for figure in table.figures_of(self.folder)}
        self.assertAlmostEqual(found[name], 1.5)

    def test_a_figure_of_zero_is_a_figure(self):
        self.write("restart.json", {"caught_up_s": 0})
        self.assertEqual([figure["value"] for figure in table.figures_of(self.folder)], [0])

    def test_before_is_the_newest_earlier_run_of_a_like_machine(self):
        self.write("1.json", self.run_of("2026-01-01T00:00:00+00:00", 3))
        self.write("2.json", self.run_of("2026-01-02T00:00:00+00:00", 2))
        self.write("3.json", self.run_of("2026-01-03T00:00:00+00:00", 9, cores=64))
        self.write("4.json", self.run_of("2026-01-05T00:00:00+00:00", 8))
        now = self.run_of("2026-01-04T00:00:00+00:00", 1)
        self.assertEqual(table.before(now, self.folder), {("kill -9 to caught up", "s"): 2})

    def test_a_goal_that_is_not_met_is_said(self):
        for value, says in [(0.9, False), (1, False), (1.1, True)]:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                table.print_table(self.run_of("2026-01-04T00:00:00+00:00", value), {})
            self.assertEqual("NOT met" in out.getvalue(), says, value)

    def test_rows_are_told_apart(self):
        names = [(row.name, row.unit) for row in table.ROWS]
        self.assertEqual(len(names), len(set(names)))


if __name__ == "__main__":
    unittest.main()
