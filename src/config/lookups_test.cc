// lookups: in the configuration: what each key may be, and the SQL that joins them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/uuid.h"
#include "config/config.h"
#include "config/dataflow.h"
#include "config/load.h"
#include "testing/status_matchers.h"

namespace millrace::config {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class ConfigLookups : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / ("lookups_" + RandomUuid());
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "d.csv") << "device_id,site\na,1\n";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // `lookups` begins on line 7; CSV is the place of a file that is there.
  LoadedConfig Load(const std::string& lookups, const std::string& sql, LoadOptions options = {}) const {
    std::string text = R"yaml(version: 1
pipeline: clicks
source: {embedded: {path: ./log}, topics: [clicks]}
decode: {columns: {ts: timestamp, device_id: string, n: int64}}
lake: {uri: ./lake}
lookups:
)yaml" + lookups + "transforms:\n  - {name: t, sql: \"" +
                       sql + "\"}\ntables:\n  - {name: out, from: t}\n";
    for (std::size_t at; (at = text.find("CSV")) != std::string::npos;)
      text.replace(at, 3, (folder_ / "d.csv").string());
    return LoadConfigText(text, "p.yaml", options);
  }
  std::vector<std::string> Findings(const std::string& lookups,
                                    const std::string& sql = "SELECT i.n, d.site FROM input i JOIN d USING (device_id)",
                                    LoadOptions options = {}) const {
    std::vector<std::string> messages;
    for (const auto& finding : Load(lookups, sql, std::move(options)).findings) messages.push_back(ToString(finding));
    return messages;
  }

  std::filesystem::path folder_;
};

constexpr const char* kDevices =
    "  - {name: d, from: {csv: CSV}, columns: {device_id: string, site: int64}, key: device_id}\n";

TEST_F(ConfigLookups, ATransformJoinsThem) {
  const auto loaded = Load(
      "  - {name: d, from: {csv: CSV}, columns: {device_id: string, site: int64}, key: [device_id], refresh: 1h}\n",
      "SELECT i.n, d.site FROM input i LEFT JOIN d USING (device_id)");
  ASSERT_THAT(loaded.findings, IsEmpty());
  ASSERT_EQ(loaded.config.lookups.size(), 1u);
  EXPECT_EQ(loaded.config.lookups[0].refresh, std::chrono::hours(1));
  EXPECT_THAT(loaded.config.lookups[0].key, ElementsAre("device_id"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto flow, PlanDataflow(loaded.config));
  ASSERT_EQ(flow.lookups.size(), 1u);
  EXPECT_THAT(flow.relations[1].lookups, ElementsAre(0));
  EXPECT_THAT(flow.LookupsOf(0), ElementsAre(0));
  EXPECT_THAT(flow.relations[1].schema->field(1)->ToString(), "site: int64");
  EXPECT_EQ(flow.relations[1].origin.columns[1], "\"lookup d/site\"(\"device_id\")");
}

TEST_F(ConfigLookups, EachMistakeHasItsPlace) {
  struct Case {
    std::string lookups;
    std::string place;
    std::string message;
  };
  const std::string columns = "columns: {device_id: string, site: int64}, key: device_id";
  const Case cases[] = {
      {"  - {from: {csv: CSV}, " + columns + "}\n", "7:5", "the key 'name' is missing"},
      {"  - {name: 1d, from: {csv: CSV}, " + columns + "}\n", "7:12", "a lookup's name '1d' must begin with a letter"},
      {"  - {name: d, " + columns + "}\n", "7:5", "lookups.d: the key 'from' is missing"},
      {"  - {name: d, from: {}, key: a}\n", "7:21",
       "lookups.d.from: give one of the keys delta, parquet, csv, json, postgres"},
      {"  - {name: d, from: {csv: ./x.csv}, columns: {k: {type: string, from: key}}, key: k}\n", "7:65",
       "unknown key 'from' in lookups.d.columns.k"},
      {"  - {name: d, from: {csv: CSV, json: CSV}, " + columns + "}\n", "7:21", "give one of the keys"},
      {"  - {name: d, from: {cvs: CSV}, key: a}\n", "7:22", "unknown key 'cvs' in lookups.d.from; did you mean 'csv'?"},
      {"  - {name: d, from: {postgres: {connection: x}}, key: a}\n", "7:32",
       "lookups.d.from.postgres: the key 'query' is"},
      {"  - {name: d, from: {postgres: {query: x}}, key: a}\n", "7:32",
       "from.postgres: the key 'connection' is missing"},
      {"  - {name: d, from: {postgres: x}, key: a}\n", "", "lookups.d.from.postgres must be a mapping"},
      {"  - {name: d, from: {csv: 'http://x/y'}, " + columns + "}\n", "7:27", "'http://x/y' is neither a path nor"},
      {"  - {name: d, from: {csv: ./folder/}, " + columns + "}\n", "7:27", "names no file"},
      {"  - {name: d, from: {csv: CSV}, key: a}\n", "7:5", "lookups.d: the key 'columns' is missing"},
      {"  - {name: d, from: {csv: CSV}, columns: {device_id: text}, key: device_id}\n", "", "unknown type 'text'"},
      {"  - {name: d, from: {csv: CSV}, columns: {device_id: {type: string, path: a.b}}, key: device_id}\n", "",
       "lookups.d.columns.device_id: the path of a CSV column is one name of the header"},
      {"  - {name: d, from: {csv: CSV}, columns: {device_id: string, l: list<string>}, key: device_id}\n", "",
       "a CSV column is no list"},
      {"  - {name: d, from: {parquet: CSV}, columns: {a: string}, key: device_id}\n", "",
       "lookups.d.columns: a parquet lookup has its own columns"},
      {"  - {name: d, from: {csv: CSV}, columns: {device_id: string}}\n", "7:5", "lookups.d: the key 'key' is missing"},
      {"  - {name: d, from: {csv: CSV}, columns: {device_id: string}, key: []}\n", "", "lookups.d.key names no column"},
      {"  - {name: d, from: {csv: CSV}, columns: {device_id: string}, key: [device_id, device_id]}\n", "",
       "lookups.d.key: 'device_id' is here twice"},
      {"  - {name: d, from: {csv: CSV}, columns: {device_id: string}, key: device}\n", "",
       "there is no column 'device' in lookups.d.columns; did you mean 'device_id'?"},
      {"  - {name: d, from: {csv: CSV}, valid_to: ts, " + columns + "}\n", "", "lookups.d.valid_to needs valid_from"},
      {"  - {name: d, from: {csv: CSV}, valid_from: site, " + columns + "}\n", "", "the validity site is int64"},
      {"  - {name: d, from: {csv: CSV}, refresh: 1ms, " + columns + "}\n", "", "refresh"},
      {"  - {name: d, from: {csv: ./nowhere.csv}, " + columns + "}\n", "7:21",
       "lookup d: csv ./nowhere.csv: there is no such file"},
      {"  - {name: d, from: {parquet: CSV}, key: device_id}\n", "7:21", "lookup d: parquet"},
      {std::string(kDevices) + kDevices, "8:12", "the name 'd' is taken by a lookup"},
      {"  - {name: T, from: {csv: CSV}, " + columns + "}\n" + kDevices, "", "the name 't' is taken by a lookup"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.lookups);
    const auto findings = Findings(c.lookups);
    ASSERT_FALSE(findings.empty());
    EXPECT_THAT(findings, ::testing::Contains(AllOf(StartsWith("p.yaml:" + c.place), HasSubstr(c.message))));
  }
}

TEST_F(ConfigLookups, SqlThatJoinsWrongHasItsPlace) {
  EXPECT_THAT(
      Findings(kDevices, "SELECT n FROM input JOIN dd USING (device_id)"),
      ElementsAre(HasSubstr("transform 't' joins 'dd', which is none of lookups; only a lookup can be joined")));
  EXPECT_THAT(Findings(kDevices, "SELECT i.n FROM input i JOIN d ON i.device_id > d.device_id"),
              ElementsAre(AllOf(StartsWith("p.yaml:9:"), HasSubstr("d is joined by its whole key, (device_id)"))));
  EXPECT_THAT(Findings(kDevices, "SELECT i.n, d.sit FROM input i JOIN d USING (device_id)"),
              ElementsAre(AllOf(StartsWith("p.yaml:9:"), HasSubstr("sit"))));
  EXPECT_THAT(Findings(kDevices, "SELECT site FROM d"),
              ElementsAre(HasSubstr("reads from 'd', which is neither 'input' nor")));
}

TEST_F(ConfigLookups, OneThatMayNotBeOpenedLeavesItsReadersUnplanned) {
  const std::string in_a_bucket = "  - {name: d, from: {delta: s3://lake/d}, key: device_id}\n";
  EXPECT_THAT(Findings(in_a_bucket, "SELECT d.nobody_knows FROM input i JOIN d USING (device_id)"), IsEmpty());
  const std::string elsewhere =
      "  - {name: d, from: {postgres: {connection: host=x, query: SELECT 1}}, key: device_id}\n";
  EXPECT_THAT(Findings(elsewhere, "SELECT d.nobody_knows FROM input i JOIN d USING (device_id)"), IsEmpty());
  const auto down =
      Load("  - {name: d, from: {postgres: {connection: host=127.0.0.1 port=1, query: SELECT 1}}, key: a}\n",
           "SELECT i.n FROM input i JOIN d ON i.device_id = d.a");
  ASSERT_THAT(down.findings, IsEmpty());
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, PlanDataflow(down.config));
  const std::string not_here = "  - {name: d, from: {delta: ./nowhere}, key: device_id}\n";
  EXPECT_THAT(Findings(not_here), ElementsAre(HasSubstr("lookup d: delta ./nowhere")));
  EXPECT_THAT(Findings(not_here, "SELECT d.site FROM input i JOIN d USING (device_id)", {.files = false}), IsEmpty());
}

}  // namespace
}  // namespace millrace::config
