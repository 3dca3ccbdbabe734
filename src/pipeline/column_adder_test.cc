// Unknown fields become columns: no value is lost or doubled, whoever adds what at the same time, and the table says
// which columns there are.
#include "pipeline/column_adder.h"

#include <arrow/array.h>
#include <arrow/scalar.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "delta/data/data_file.h"
#include "delta/schema_change.h"
#include "pipeline/test_pipeline_internal.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

config::PipelineConfig AddingConfig() {
  auto config = TestConfig();
  config.inputs[0].decode.unknown_fields = ingest::UnknownFields::kAdd;
  config.inputs[0].event_time.reset();
  config.aggregates.clear();
  config.inputs[0].decode.columns.push_back({.name = "city", .type = arrow::utf8(), .path = {"geo", "city"}});
  return config;
}

std::string With(std::int64_t id, const std::string& members) { return fmt::format(R"({{"id":{},{}}})", id, members); }

/// The table's columns behind the planned ones, "name:type".
std::vector<std::string> Added(TestPipeline& pipeline, int table = kRaw) {
  const auto snapshot = pipeline.table(table).Refresh().ValueOrDie();
  std::vector<std::string> added;
  for (const auto& field : snapshot->schema->fields()) {
    if (pipeline.plan().tables[table].schema->GetFieldByName(field->name()) != nullptr) continue;
    added.push_back(field->name() + ":" + field->type()->ToString());
  }
  return added;
}

/// By id: what every column but the planned ones says, and the rest.
std::map<std::int64_t, std::string> Rows(TestPipeline& pipeline) {
  std::map<std::int64_t, std::string> rows;
  const auto snapshot = pipeline.table(kRaw).Refresh().ValueOrDie();
  for (const auto& [key, file] : snapshot->files) {
    const auto store = pipeline.table(kRaw).store();
    for (const auto& batch : delta::ReadDataFile(*store, *snapshot, file).ValueOrDie()) {
      const auto& ids = static_cast<const arrow::Int64Array&>(*batch->GetColumnByName("id"));
      for (std::int64_t row = 0; row < batch->num_rows(); ++row) {
        std::string text;
        for (const auto& field : batch->schema()->fields()) {
          const bool is_rescued = field->name() == ingest::kRescuedColumn;
          if (!is_rescued && pipeline.plan().tables[kRaw].schema->GetFieldByName(field->name()) != nullptr) continue;
          const auto value = batch->GetColumnByName(field->name())->GetScalar(row).ValueOrDie();
          if (value->is_valid) text += field->name() + "=" + value->ToString() + " ";
        }
        EXPECT_TRUE(rows.emplace(ids.Value(row), text).second) << ids.Value(row);
      }
    }
  }
  return rows;
}

/// Another worker on the same tables, or the same after a restart.
std::unique_ptr<Shard> AnotherShard(TestPipeline& pipeline) {
  std::vector<std::shared_ptr<objectstore::ObjectStore>> stores;
  for (int t = 0; t < pipeline.plan().num_tables(); ++t) {
    stores.push_back(OpenTableStore(pipeline.plan(), t, pipeline.lake()).ValueOrDie());
  }
  auto shard = Shard::Make(pipeline.shared_plan(), std::move(stores)).ValueOrDie();
  Shard::PartitionStart start{.source = {kSource.topic, 1},
                              .generation = 1,
                              .sinks = {{}, {}},
                              .letter_stages = {},
                              .progress = std::make_shared<PartitionProgress>()};
  shard->Start(std::move(start));
  return shard;
}

model::FetchedRecords OfPartition1(model::FetchedRecords fetched) {
  fetched.source.partition = 1;
  return fetched;
}

/// Commits what another shard has of the table of events.
void CommitRaw(TestPipeline& pipeline, Shard& shard) {
  std::vector<SealedPart> parts;
  parts.push_back(shard.sink(kRaw).Seal(1).ValueOrDie());
  const auto epoch = PrepareEpoch(pipeline.plan().tables[kRaw], pipeline.table(kRaw), std::move(parts)).ValueOrDie();
  const auto outcome = CommitEpoch(pipeline.plan(), kRaw, pipeline.table(kRaw), pipeline.progress(), epoch);
  ASSERT_TRUE(outcome.ok()) << outcome.status().ToString();
  ASSERT_TRUE(std::holds_alternative<EpochCommitted>(*outcome));
}

TEST(ColumnAdder, AKeyIsAColumnBeforeItsRowsAreCommitted) {
  TestPipeline pipeline(AddingConfig());
  pipeline.Start();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched(
      {0, 3}, {{0, Row(0)}, {1, With(1, R"("n":1,"s":"x","geo":{"city":"Lyon","lat":45.760})")}, {2, Row(2)}})));
  EXPECT_THAT(Added(pipeline), ElementsAre("n:int64", "s:string"));
  EXPECT_TRUE(Rows(pipeline).empty());
  // The files so far lack what comes now.
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched(
      {3, 5}, {{3, With(3, R"("n":1.5,"o":{"a":[1, 2]},"t":true)")}, {4, With(4, R"("n":2,"t":null,"z":null)")}})));
  EXPECT_THAT(Added(pipeline), ElementsAre("n:int64", "s:string", "o:string", "t:bool"));
  MILLRACE_ASSERT_OK(pipeline.CommitAll());
  EXPECT_THAT(Rows(pipeline), ElementsAre(Pair(0, ""), Pair(1, R"(_rescued={"geo":{"lat":45.760}} n=1 s=x )"),
                                          Pair(2, ""), Pair(3, R"(_rescued={"n":1.5} o={"a":[1, 2]} t=true )"),
                                          Pair(4, R"(_rescued={"z":null} n=2 )")));
  // The transform does not pass the rescued column on: its table grows nothing.
  EXPECT_THAT(Added(pipeline, kCleaned), ElementsAre());
  EXPECT_EQ(pipeline.plan().tables[kCleaned].rescued_column, -1);
}

TEST(ColumnAdder, RowsThatAreReadAgainComeOutAsBefore) {
  const auto fetched = [] {
    return Fetched(
        {0, 4},
        {{0, With(0, R"("n":1)")}, {1, With(1, R"("n":"x","s":"x")")}, {2, With(2, R"("s":null)")}, {3, Row(3)}});
  };
  TestPipeline calm(AddingConfig());
  calm.Start();
  MILLRACE_ASSERT_OK(calm.shard().Process(fetched()));
  MILLRACE_ASSERT_OK(calm.CommitAll());

  TestPipeline pipeline(AddingConfig());
  pipeline.Start();
  // The commit that adds the columns fails; then it lands, and all that was not committed is lost with the process.
  for (const auto fault : {testing::StoreFault::kFail, testing::StoreFault::kLoseRequest}) {
    pipeline.store().SetPolicy([fault](testing::StoreOperation operation, const std::string& key) {
      const bool is_commit = operation == testing::StoreOperation::kPutIfAbsent && key.ends_with("1.json");
      return is_commit ? std::optional(fault) : std::nullopt;
    });
    MILLRACE_ASSERT_KIND(ErrorKind::kTransient, pipeline.shard().Process(fetched()));
    MILLRACE_ASSERT_KIND(ErrorKind::kTransient, pipeline.shard().Seal(kRaw, 1));
    pipeline.shard().Discard();
    pipeline.Start();
  }
  pipeline.store().SetPolicy(nullptr);
  EXPECT_THAT(Added(pipeline), ElementsAre());
  for (int restart = 0; restart < 2; ++restart) {
    pipeline.shard().Discard();
    pipeline.Start();
    MILLRACE_ASSERT_OK(pipeline.shard().Process(fetched()));
  }
  MILLRACE_ASSERT_OK(pipeline.CommitAll());
  EXPECT_EQ(Added(pipeline), Added(calm));
  EXPECT_EQ(Rows(pipeline), Rows(calm));
}

TEST(ColumnAdder, WorkersAgreeOnWhatIsCommittedFirst) {
  TestPipeline pipeline(AddingConfig());
  pipeline.Start();
  const auto other = AnotherShard(pipeline);
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 1}, {{0, With(0, R"("a":1)")}})));
  // While this shard is about to add its own `k` and `l`, the other one adds them with other types and in another case.
  bool was_added = false;
  pipeline.store().Before(
      testing::StoreOperation::kPutIfAbsent, 1,
      [&] {
        was_added = true;
        const auto table = delta::Table::Open(pipeline.table(kRaw).store()).ValueOrDie();
        MILLRACE_ASSERT_OK(
            delta::AddColumns(*table, {arrow::field("k", arrow::utf8()), arrow::field("L", arrow::int64())}));
      },
      "2.json");
  MILLRACE_ASSERT_OK(pipeline.shard().Process(
      Fetched({1, 3}, {{1, With(1, R"("k":1,"l":2,"m":3)")}, {2, With(2, R"("k":"x","L":2)")}})));
  ASSERT_TRUE(was_added);
  EXPECT_THAT(Added(pipeline), ElementsAre("a:int64", "k:string", "L:int64", "m:int64"));
  // The other worker has not seen any of them.
  MILLRACE_ASSERT_OK(other->Process(
      OfPartition1(Fetched({0, 2}, {{0, With(10, R"("a":"y","k":"y","m":4)")}, {1, With(11, R"("b":1)")}}))));
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({3, 4}, {{3, With(3, R"("b":"z")")}})));
  EXPECT_THAT(Added(pipeline), ElementsAre("a:int64", "k:string", "L:int64", "m:int64", "b:int64"));
  CommitRaw(pipeline, *other);
  MILLRACE_ASSERT_OK(pipeline.CommitAll());
  EXPECT_THAT(Rows(pipeline), ElementsAre(Pair(0, "a=1 "), Pair(1, R"(_rescued={"k":1,"l":2} m=3 )"),
                                          Pair(2, "k=x L=2 "), Pair(3, R"(_rescued={"b":"z"} )"),
                                          Pair(10, R"(_rescued={"a":"y"} k=y m=4 )"), Pair(11, "b=1 ")));
}

TEST(ColumnAdder, TheTableKnowsItsColumnsAfterARestart) {
  TestPipeline pipeline(AddingConfig());
  pipeline.Start();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 1}, {{0, With(0, R"("n":1,"o":{})")}})));
  MILLRACE_ASSERT_OK(pipeline.CommitAll());
  // Somebody adds more: a type that we fill, and one that we do not.
  MILLRACE_ASSERT_OK(delta::AddColumns(pipeline.table(kRaw),
                                       {arrow::field("d", arrow::float64()), arrow::field("day", arrow::date32())}));
  const auto other = AnotherShard(pipeline);
  MILLRACE_ASSERT_OK(other->Process(OfPartition1(Fetched(
      {0, 2}, {{0, With(1, R"("n":null,"o":null,"d":null)")}, {1, With(2, R"("o":[],"d":7,"day":"2026-01-01")")}}))));
  const auto version = pipeline.table(kRaw).Refresh().ValueOrDie()->version;
  CommitRaw(pipeline, *other);
  EXPECT_EQ(pipeline.table(kRaw).Refresh().ValueOrDie()->version, version + 1) << "nothing was to be added";
  EXPECT_THAT(Rows(pipeline),
              ElementsAre(Pair(0, "n=1 o={} "), Pair(1, ""), Pair(2, R"(_rescued={"day":"2026-01-01"} o=[] d=7 )")));
}

TEST(ColumnAdder, AddsSoManyAndNoMore) {
  TestPipeline pipeline(AddingConfig());
  pipeline.Start();
  std::string members = R"("k0":0)";
  for (std::size_t i = 1; i < kAddedColumnsMax + 2; ++i) members += fmt::format(R"(,"k{}":{})", i, i);
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 1}, {{0, With(0, members)}})));
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({1, 2}, {{1, With(1, R"("more":true,"k7":8)")}})));
  EXPECT_EQ(Added(pipeline).size(), kAddedColumnsMax);
  const auto epoch = pipeline.Prepare(kRaw).ValueOrDie();
  EXPECT_EQ(epoch.rescued_rows, 2);
  const auto outcome = CommitEpoch(pipeline.plan(), kRaw, pipeline.table(kRaw), pipeline.progress(), epoch);
  ASSERT_TRUE(outcome.ok()) << outcome.status().ToString();
  const auto rows = Rows(pipeline);
  EXPECT_TRUE(rows.at(0).starts_with(R"(_rescued={"k100":100,"k101":101} k0=0 k1=1 )")) << rows.at(0);
  EXPECT_EQ(rows.at(1), R"(_rescued={"more":true} k7=8 )");
}

}  // namespace
}  // namespace millrace::pipeline
