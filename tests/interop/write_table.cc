// Writes a Delta table with our code, for tests that read it with other engines.
//
//   write_table create DIR [COLUMNS [N]]   version 0, then four commits of N rows each (1,000), then a checkpoint;
//                                          partitioned by COLUMNS, as in "t,day"; by "day" if not given, "" is none
//   write_table append DIR N               one more commit of N rows, whose transaction goes on from the table's
//   write_table ingest DIR N               N more such commits of 20 rows by one writer, a checkpoint at times
//   write_table show DIR                   "version=V files=F rows=R sum=S txn=T": as our reader sees it
//
// Row i (from 0) of the whole table: see MakeBatch(). Exit 1 and a message on any error.
#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/table_builder.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "delta/data/data_file.h"
#include "delta/table.h"

namespace millrace::delta {
namespace {

constexpr const char* kAppId = "interop-0";
constexpr std::int64_t kStartUs = 1'700'000'000'123'456;

std::shared_ptr<arrow::Schema> TableSchema() {
  const auto utc = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  return arrow::schema({
      arrow::field("id", arrow::int64(), false),
      arrow::field("s", arrow::utf8()),
      arrow::field("uuid", arrow::utf8()),
      arrow::field("b", arrow::binary()),
      arrow::field("t", arrow::boolean()),
      arrow::field("i8", arrow::int8()),
      arrow::field("i16", arrow::int16()),
      arrow::field("i32", arrow::int32()),
      arrow::field("f", arrow::float32()),
      arrow::field("d", arrow::float64()),
      arrow::field("amount", arrow::decimal128(12, 2)),
      arrow::field("huge", arrow::decimal128(38, 6)),
      arrow::field("ts", utc),
      arrow::field("list", arrow::list(arrow::field("element", arrow::int64()))),
      arrow::field("st", arrow::struct_({arrow::field("x", arrow::int64()), arrow::field("y", arrow::utf8())})),
      arrow::field("_topic", arrow::dictionary(arrow::int32(), arrow::utf8()), false),
      arrow::field("day", arrow::date32()),
  });
}

// Row i: every seventh value is null in the nullable scalar columns; numbers grow with i, texts hold quotes and
// umlauts.
Result<std::shared_ptr<arrow::RecordBatch>> MakeBatch(std::int64_t begin, std::int64_t end) {
  const auto schema = TableSchema();
  std::unique_ptr<arrow::RecordBatchBuilder> builder;
  ASSIGN_OR_RETURN(builder, arrow::RecordBatchBuilder::Make(schema, arrow::default_memory_pool()));
  auto* id = builder->GetFieldAs<arrow::Int64Builder>(0);
  auto* s = builder->GetFieldAs<arrow::StringBuilder>(1);
  auto* uuid = builder->GetFieldAs<arrow::StringBuilder>(2);
  auto* b = builder->GetFieldAs<arrow::BinaryBuilder>(3);
  auto* t = builder->GetFieldAs<arrow::BooleanBuilder>(4);
  auto* i8 = builder->GetFieldAs<arrow::Int8Builder>(5);
  auto* i16 = builder->GetFieldAs<arrow::Int16Builder>(6);
  auto* i32 = builder->GetFieldAs<arrow::Int32Builder>(7);
  auto* f = builder->GetFieldAs<arrow::FloatBuilder>(8);
  auto* d = builder->GetFieldAs<arrow::DoubleBuilder>(9);
  auto* amount = builder->GetFieldAs<arrow::Decimal128Builder>(10);
  auto* huge = builder->GetFieldAs<arrow::Decimal128Builder>(11);
  auto* ts = builder->GetFieldAs<arrow::TimestampBuilder>(12);
  auto* list = builder->GetFieldAs<arrow::ListBuilder>(13);
  auto* st = builder->GetFieldAs<arrow::StructBuilder>(14);
  auto* topic = builder->GetFieldAs<arrow::StringDictionaryBuilder>(15);
  auto* day = builder->GetFieldAs<arrow::Date32Builder>(16);

  for (std::int64_t i = begin; i < end; ++i) {
    const bool null = i % 7 == 3;
    RETURN_NOT_OK(id->Append(i));
    RETURN_NOT_OK(null ? s->AppendNull() : s->Append(fmt::format("\"quoted\" straße {}", i % 50)));
    RETURN_NOT_OK(uuid->Append(fmt::format("{:08x}-a-rather-long-text-that-is-cut-in-statistics", i * 2654435761)));
    RETURN_NOT_OK(null ? b->AppendNull() : b->Append(std::string("\0\xFF", 2) + std::to_string(i)));
    RETURN_NOT_OK(null ? t->AppendNull() : t->Append(i % 2 == 0));
    RETURN_NOT_OK(null ? i8->AppendNull() : i8->Append(static_cast<std::int8_t>(i % 256 - 128)));
    RETURN_NOT_OK(null ? i16->AppendNull() : i16->Append(static_cast<std::int16_t>(i)));
    RETURN_NOT_OK(null ? i32->AppendNull() : i32->Append(static_cast<std::int32_t>(-i)));
    RETURN_NOT_OK(null ? f->AppendNull() : f->Append(static_cast<float>(i) / 4));
    RETURN_NOT_OK(null ? d->AppendNull() : d->Append(i % 100 == 50 ? std::nan("") : static_cast<double>(i) / 3));
    RETURN_NOT_OK(null ? amount->AppendNull() : amount->Append(arrow::Decimal128(i * 101 - 5000)));
    RETURN_NOT_OK(null ? huge->AppendNull()
                       : huge->Append(arrow::Decimal128("123456789012345678901234567890") + arrow::Decimal128(i)));
    RETURN_NOT_OK(null ? ts->AppendNull() : ts->Append(kStartUs + i * 1'000'001));
    if (null) {
      RETURN_NOT_OK(list->AppendNull());
      RETURN_NOT_OK(st->AppendNull());
    } else {
      RETURN_NOT_OK(list->Append());
      for (std::int64_t n = 0; n < i % 3; ++n) {
        RETURN_NOT_OK(static_cast<arrow::Int64Builder*>(list->value_builder())->Append(i + n));
      }
      RETURN_NOT_OK(st->Append());
      RETURN_NOT_OK(static_cast<arrow::Int64Builder*>(st->field_builder(0))->Append(i));
      RETURN_NOT_OK(static_cast<arrow::StringBuilder*>(st->field_builder(1))->Append(std::to_string(i)));
    }
    RETURN_NOT_OK(topic->Append("clicks"));
    RETURN_NOT_OK(day->Append(static_cast<std::int32_t>(19'700 + i % 2)));
  }
  return builder->Flush();
}

Status Append(Table& table, std::int64_t begin, std::int64_t end) {
  ASSIGN_OR_RETURN(const auto batch, MakeBatch(begin, end));
  ASSIGN_OR_RETURN(const auto parts, SplitByPartition(batch, table.snapshot()->metadata.partition_columns));
  ASSIGN_OR_RETURN(const auto stats, StatsColumnsOf(*table.snapshot()));
  CommitRequest request;
  for (const auto& part : parts) {
    ASSIGN_OR_RETURN(const auto writer, DataFileWriter::Make(table.store(), part.rows->schema(), part.values));
    RETURN_NOT_OK(writer->Append(*part.rows));
    ASSIGN_OR_RETURN(AddFile add, writer->Finish(stats));
    request.adds.push_back(std::move(add));
  }
  request.fence = {{kAppId, table.snapshot()->TxnVersion(kAppId)}};
  request.txns = {{kAppId, end - 1, std::nullopt}};
  request.operation_parameters = {{"outputMode", "Append"}, {"queryId", kAppId}, {"epochId", std::to_string(end)}};
  request.operation_metrics = {{"numAddedFiles", std::to_string(parts.size())},
                               {"numOutputRows", std::to_string(end - begin)}};
  request.info = {{"millrace", fmt::format(R"({{"ledger":[{{"read":{},"written":{}}}]}})", end - begin, end - begin)}};
  ASSIGN_OR_RETURN(const CommitOutcome outcome, table.Commit(request));
  return std::holds_alternative<Committed>(outcome) ? Status::OK() : Conflict("fenced");
}

Status Show(Table& table) {
  const auto snapshot = table.snapshot();
  std::int64_t rows = 0;
  std::int64_t sum = 0;
  for (const auto& [path, file] : snapshot->files) {
    ASSIGN_OR_RETURN(const auto batches, ReadDataFile(*table.store(), *snapshot, file, {"id"}));
    for (const auto& batch : batches) {
      const auto& ids = static_cast<const arrow::Int64Array&>(*batch->column(0));
      rows += ids.length();
      for (std::int64_t i = 0; i < ids.length(); ++i) sum += ids.Value(i);
    }
  }
  std::printf("version=%lld files=%zu rows=%lld sum=%lld txn=%lld\n", static_cast<long long>(snapshot->version),
              snapshot->files.size(), static_cast<long long>(rows), static_cast<long long>(sum),
              static_cast<long long>(snapshot->TxnVersion(kAppId).value_or(-1)));
  return Status::OK();
}

// "a,b": two; "": none.
std::vector<std::string> Columns(const std::string& text) {
  std::vector<std::string> columns;
  std::stringstream list(text);
  for (std::string column; std::getline(list, column, ',');) columns.push_back(column);
  return columns;
}

Status Create(const std::string& folder, const std::string& partition_columns, std::int64_t rows_per_commit) {
  ASSIGN_OR_RETURN(const auto store, objectstore::OpenStore(folder));
  CreateOptions options;
  options.schema = TableSchema();
  options.partition_columns = Columns(partition_columns);
  options.name = "interop";
  ASSIGN_OR_RETURN(const auto table, Table::OpenOrCreate(store, options));
  for (std::int64_t i = 0; i < 4; ++i) {
    RETURN_NOT_OK(Append(*table, i * rows_per_commit, (i + 1) * rows_per_commit));
  }
  return table->WriteCheckpoint();
}

Status Run(const std::vector<std::string>& arguments) {
  const std::string& verb = arguments[0];
  const std::string& folder = arguments[1];
  if (verb == "create") {
    return Create(folder, arguments.size() > 2 ? arguments[2] : "day",
                  arguments.size() > 3 ? std::atoll(arguments[3].c_str()) : 1000);
  }
  ASSIGN_OR_RETURN(const auto store, objectstore::OpenStore(folder));
  ASSIGN_OR_RETURN(const auto table, Table::Open(store));
  const std::int64_t count = arguments.size() > 2 ? std::atoll(arguments[2].c_str()) : 0;
  if (verb == "append") {
    const std::int64_t begin = table->snapshot()->TxnVersion(kAppId).value_or(-1) + 1;
    return Append(*table, begin, begin + count);
  }
  if (verb == "ingest") {
    // One long-lived writer, as a worker is: `count` commits of 20 rows.
    for (std::int64_t n = 0; n < count; ++n) {
      const std::int64_t begin = table->snapshot()->TxnVersion(kAppId).value_or(-1) + 1;
      RETURN_NOT_OK(Append(*table, begin, begin + 20));
      if (n % 25 == 24) RETURN_NOT_OK(table->WriteCheckpoint());
    }
    return Status::OK();
  }
  if (verb == "show") return Show(*table);
  return InvalidInput("unknown verb {}", verb);
}

}  // namespace
}  // namespace millrace::delta

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() < 2) {
    std::fprintf(stderr, "usage: write_table create|append|ingest|show DIR ...\n");
    return 64;
  }
  const auto status = millrace::delta::Run(arguments);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}
