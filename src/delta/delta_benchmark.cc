// Cost of writing data files: the event table of the cost benchmark (about 250 bytes of JSON an event, 14 columns).
// Reads as CPU seconds per million rows (counter cpu_s_per_Mrow) and bytes per row; one thread, a local folder.
#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/record_batch.h>
#include <benchmark/benchmark.h>

#include <filesystem>
#include <random>

#include "base/uuid.h"
#include "delta/data/data_file.h"

namespace millrace::delta {
namespace {

constexpr std::int64_t kBatchRows = 16'384;
constexpr int kBatches = 64;  // About a million rows.

template <typename Builder>
std::shared_ptr<arrow::Array> FinishOrDie(Builder& builder) {
  return builder.Finish().ValueOrDie();
}

const std::shared_ptr<arrow::DataType>& Utc() {
  static const auto type = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  return type;
}

std::vector<std::shared_ptr<arrow::RecordBatch>> MakeBatches() {
  std::mt19937_64 random(42);
  const auto pick = [&](std::uint64_t n) { return random() % n; };
  const char* const countries[] = {"DE", "US", "FR", "GB", "JP", "BR", "IN", "CN", "AU", "CA"};
  const char* const cities[] = {"Berlin",    "New York", "Paris",   "London", "Tokyo",
                                "Sao Paulo", "Mumbai",   "Beijing", "Sydney"};
  const auto topic = arrow::dictionary(arrow::int32(), arrow::utf8());
  const auto schema =
      arrow::schema({arrow::field("event_id", arrow::utf8()), arrow::field("ts", Utc()),
                     arrow::field("device_id", arrow::utf8()), arrow::field("user_id", arrow::int64()),
                     arrow::field("country", arrow::utf8()), arrow::field("page", arrow::utf8()),
                     arrow::field("latency_ms", arrow::float64()), arrow::field("amount", arrow::decimal128(12, 2)),
                     arrow::field("city", arrow::utf8()), arrow::field("ok", arrow::boolean()),
                     arrow::field("_topic", topic, false), arrow::field("_partition", arrow::int32(), false),
                     arrow::field("_offset", arrow::int64(), false), arrow::field("_timestamp", Utc(), false)});
  arrow::StringBuilder topic_name;
  (void)topic_name.Append("clicks");
  const auto topic_names = FinishOrDie(topic_name);
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  std::int64_t offset = 0;
  for (int b = 0; b < kBatches; ++b) {
    arrow::StringBuilder event_id, device_id, country, page, city;
    arrow::TimestampBuilder ts(Utc(), arrow::default_memory_pool()), timestamp(Utc(), arrow::default_memory_pool());
    arrow::Int64Builder user_id, offsets;
    arrow::DoubleBuilder latency;
    arrow::Decimal128Builder amount(arrow::decimal128(12, 2));
    arrow::BooleanBuilder ok;
    arrow::Int32Builder partition, topic_index;
    for (std::int64_t i = 0; i < kBatchRows; ++i, ++offset) {
      const std::int64_t now = 1'700'000'000'000'000 + offset * 20;
      (void)event_id.Append(RandomUuid());
      (void)ts.Append((now - static_cast<std::int64_t>(pick(2'000'000))) / 1000 * 1000);
      (void)device_id.Append("device-" + std::to_string(pick(1000)));
      (void)user_id.Append(static_cast<std::int64_t>(pick(1'000'000)));
      (void)country.Append(countries[pick(10)]);
      (void)page.Append("/products/" + std::to_string(pick(200)));
      (void)latency.Append(static_cast<double>(pick(100'000)) / 100);
      (void)amount.Append(arrow::Decimal128(static_cast<std::int64_t>(pick(100'000))));
      (void)city.Append(cities[pick(9)]);
      (void)ok.Append(pick(10) != 0);
      (void)topic_index.Append(0);
      (void)partition.Append(b % 4);
      (void)offsets.Append(offset);
      (void)timestamp.Append(now / 1000 * 1000);
    }
    batches.push_back(arrow::RecordBatch::Make(
        schema, kBatchRows,
        {FinishOrDie(event_id), FinishOrDie(ts), FinishOrDie(device_id), FinishOrDie(user_id), FinishOrDie(country),
         FinishOrDie(page), FinishOrDie(latency), FinishOrDie(amount), FinishOrDie(city), FinishOrDie(ok),
         arrow::DictionaryArray::FromArrays(topic, FinishOrDie(topic_index), topic_names).ValueOrDie(),
         FinishOrDie(partition), FinishOrDie(offsets), FinishOrDie(timestamp)}));
  }
  return batches;
}

void WriteAll(benchmark::State& state, const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  const auto folder = std::filesystem::temp_directory_path() / ("delta-benchmark-" + RandomUuid());
  const auto store = objectstore::OpenStore(folder.string()).ValueOrDie();
  std::int64_t bytes = 0;
  std::int64_t rows = 0;
  std::int64_t memory = 0;
  for (auto _ : state) {
    auto writer = DataFileWriter::Make(store, batches[0]->schema(), {}).ValueOrDie();
    for (const auto& batch : batches) {
      if (const Status status = writer->Append(*batch); !status.ok()) state.SkipWithError(status.ToString().c_str());
      memory = std::max(memory, writer->memory_bytes());
    }
    rows += writer->num_rows();
    bytes += writer->Finish().ValueOrDie().size;
  }
  std::filesystem::remove_all(folder);
  state.SetItemsProcessed(rows);
  state.counters["bytes_per_row"] = static_cast<double>(bytes) / static_cast<double>(rows);
  state.counters["writer_MiB"] = static_cast<double>(memory) / (1 << 20);
  state.counters["cpu_s_per_Mrow"] =
      benchmark::Counter(static_cast<double>(rows) / 1e6, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void BM_WriteEvents(benchmark::State& state) {
  static const auto batches = MakeBatches();
  WriteAll(state, batches);
}
BENCHMARK(BM_WriteEvents)->Unit(benchmark::kMillisecond);

// One column alone: where the time goes.
void BM_WriteColumn(benchmark::State& state) {
  static const auto batches = MakeBatches();
  const int column = static_cast<int>(state.range(0));
  std::vector<std::shared_ptr<arrow::RecordBatch>> narrow;
  for (const auto& batch : batches) narrow.push_back(batch->SelectColumns({column}).ValueOrDie());
  state.SetLabel(batches[0]->schema()->field(column)->name());
  WriteAll(state, narrow);
}
BENCHMARK(BM_WriteColumn)->DenseRange(0, 13)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace millrace::delta

BENCHMARK_MAIN();
