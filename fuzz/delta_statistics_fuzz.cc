// Any text as the statistics of a file: pruning neither fails nor hides a row that statistics of a sound file would
// show.
#include <algorithm>
#include <cstdint>
#include <string>

#include "delta/data/data_file.h"
#include "delta/data/file_pruning.h"
#include "delta/data/partition_values.h"
#include "delta/text/file_path.h"
#include "delta/text/interval_text.h"
#include "require.h"

namespace {

using namespace millrace::delta;

Snapshot AllTypes() {
  Snapshot snapshot;
  snapshot.schema = arrow::schema({arrow::field("b", arrow::boolean()), arrow::field("i", arrow::int32()),
                                   arrow::field("l", arrow::int64()), arrow::field("f", arrow::float32()),
                                   arrow::field("d", arrow::float64()), arrow::field("s", arrow::utf8()),
                                   arrow::field("day", arrow::date32()), arrow::field("m", arrow::decimal128(38, 9)),
                                   arrow::field("ts", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"))});
  return snapshot;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Snapshot snapshot = AllTypes();
  AddFile file{.path = "f", .stats = std::string(reinterpret_cast<const char*>(data), size)};
  for (const auto& field : snapshot.schema->fields()) {
    const auto zero = ValueFromText(field->type()->id() == arrow::Type::BOOL        ? "true"
                                    : field->type()->id() == arrow::Type::DATE32    ? "1970-01-01"
                                    : field->type()->id() == arrow::Type::TIMESTAMP ? "1970-01-01 00:00:00"
                                                                                    : "0",
                                    *field->type());
    Require(zero.has_value());
    bool any = false;
    for (const auto comparator : {Comparator::kLess, Comparator::kEqual, Comparator::kGreater, Comparator::kIsNull}) {
      std::vector<Value> values;
      if (comparator != Comparator::kIsNull) values.push_back(*zero);
      const auto pruner = FilePruner::Make(snapshot, {{field->name(), comparator, values}});
      const auto may_match = (*pruner)->MayMatch(file);
      Require(may_match.ok());
      any = any || *may_match;
    }
    // A file may be left out by every one of the four only if it says that it has no rows, or bounds that cross.
    if (!any)
      Require(file.stats->find("numRecords") != std::string::npos || file.stats->find("Values") != std::string::npos);
    // The same text as a partition value is of the column's type, or it is refused.
    (void)PartitionColumn(file.stats, field->type(), 1, field->name());
  }
  // As a folder of its partition it is one segment of a key, and decodes to itself there and back.
  const std::string folder = PartitionFolders({{"p", file.stats}});
  Require(folder.empty() || DecodeRelativePath(EncodePath(folder + "x")).ValueOr("") == folder + "x");
  Require(std::count(folder.begin(), folder.end(), '/') == (folder.empty() ? 0 : 1));
  Require(IntervalToMillis(*file.stats).value_or(0) >= 0);
  (void)NumRecords(file);
  (void)TimestampStats(file, "ts");
  return 0;
}
