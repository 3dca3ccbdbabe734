#include <arrow/array.h>
#include <arrow/array/concatenate.h>
#include <arrow/array/util.h>
#include <arrow/compute/api.h>
#include <arrow/table.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/key_value_metadata.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/file_reader.h>
#include <parquet/statistics.h>
#include <simdjson.h>

#include <algorithm>
#include <map>
#include <utility>

#include "delta/data_file.h"
#include "delta/deletion_vector.h"
#include "delta/file_path.h"
#include "delta/file_scan_internal.h"
#include "delta/partition_values.h"
#include "delta/time_text.h"

namespace millrace::delta {
namespace {

// Rows decoded at a time: large enough that calls do not count, small enough to stay in the cache with a few columns.
constexpr std::int64_t kBatchRows = 65'536;

void CollectLeaves(const parquet::arrow::SchemaField& field, std::vector<int>& leaves) {
  if (field.column_index >= 0) leaves.push_back(field.column_index);
  for (const auto& child : field.children) CollectLeaves(child, leaves);
}

// What Parquet itself reports has no kind of ours: the bytes are not what was written.
Status Broken(const Status& status) {
  if (status.ok() || KindOf(status) != ErrorKind::kInternal) return status;
  return Corrupt("it is not readable Parquet: {}", status.message());
}

template <typename ParquetType, typename Convert>
ColumnBounds BoundsOf(const parquet::Statistics& statistics, Convert convert) {
  const auto& typed = static_cast<const parquet::TypedStatistics<ParquetType>&>(statistics);
  return {.min = convert(typed.min()), .max = convert(typed.max())};
}

// The bounds of one leaf in one row group, if its stored values are the column's own.
ColumnBounds GroupBounds(const parquet::ColumnChunkMetaData& chunk, const arrow::DataType& stored,
                         const arrow::DataType& type, std::int64_t num_rows) {
  ColumnBounds bounds;
  std::shared_ptr<parquet::Statistics> statistics;
  if (chunk.is_stats_set()) statistics = chunk.statistics();
  if (statistics == nullptr) return bounds;
  if (statistics->HasMinMax() && stored.Equals(type)) {
    const auto integer = [](auto v) { return std::optional<Value>(static_cast<std::int64_t>(v)); };
    const auto floating = [](auto v) { return v == v ? std::optional<Value>(static_cast<double>(v)) : std::nullopt; };
    const auto text = [](const parquet::ByteArray& v) {
      return std::optional<Value>(std::string(reinterpret_cast<const char*>(v.ptr), v.len));
    };
    const bool whole = type.id() != arrow::Type::DECIMAL128;
    switch (statistics->physical_type()) {
      case parquet::Type::BOOLEAN:
        bounds = BoundsOf<parquet::BooleanType>(*statistics, integer);
        break;
      case parquet::Type::INT32:
        if (whole) bounds = BoundsOf<parquet::Int32Type>(*statistics, integer);
        break;
      case parquet::Type::INT64:
        if (whole) bounds = BoundsOf<parquet::Int64Type>(*statistics, integer);
        break;
      case parquet::Type::FLOAT:
        bounds = BoundsOf<parquet::FloatType>(*statistics, floating);
        break;
      case parquet::Type::DOUBLE:
        bounds = BoundsOf<parquet::DoubleType>(*statistics, floating);
        break;
      case parquet::Type::BYTE_ARRAY:
        if (type.id() == arrow::Type::STRING) bounds = BoundsOf<parquet::ByteArrayType>(*statistics, text);
        break;
      default:
        break;
    }
  }
  if (statistics->HasNullCount()) bounds.null_count = statistics->null_count();
  bounds.num_rows = num_rows;
  return bounds;
}

}  // namespace

Result<std::shared_ptr<const ScanPlan>> ScanPlan::Make(SnapshotPtr snapshot, const std::vector<std::string>& columns,
                                                       Conjunction where) {
  auto plan = std::make_shared<ScanPlan>();
  ASSIGN_OR_RETURN(const ColumnMapping mapping, ColumnMappingOf(snapshot->protocol, snapshot->metadata));
  const auto& partition_columns = snapshot->metadata.partition_columns;
  const auto find = [&](const std::string& name) -> Result<ScanColumn> {
    auto field = snapshot->schema->GetFieldByName(name);
    if (field == nullptr) return InvalidInput("the table has no column '{}'", name);
    ASSIGN_OR_RETURN(auto physical, PhysicalColumnOf(*field, mapping));
    const bool is_partition =
        std::find(partition_columns.begin(), partition_columns.end(), name) != partition_columns.end();
    return ScanColumn{std::move(field), std::move(physical), is_partition};
  };
  arrow::FieldVector fields;
  for (const auto& name : columns.empty() ? snapshot->schema->field_names() : columns) {
    ASSIGN_OR_RETURN(auto column, find(name));
    fields.push_back(column.field);
    plan->columns.push_back(std::move(column));
  }
  for (const auto& comparison : where) {
    ASSIGN_OR_RETURN(auto column, find(comparison.column));
    plan->conditions.push_back(std::move(column));
  }
  plan->snapshot = std::move(snapshot);
  plan->where = std::move(where);
  plan->schema = arrow::schema(std::move(fields));
  return plan;
}

class FileScan::Impl {
 public:
  Impl(std::shared_ptr<const ScanPlan> plan, AddFile file) : plan_(std::move(plan)), file_(std::move(file)) {}

  Status Open(objectstore::ObjectStore& store) {
    where_ = fmt::format("data file {} of {}", file_.path, store.uri());
    try {
      return WithContext(OpenFile(store), "{}", where_);
    } catch (const parquet::ParquetException& e) {
      return Corrupt("{}: {}", where_, e.what());
    }
  }

  int num_row_groups() const { return metadata_->num_row_groups(); }

  bool MayMatch(int group) const {
    try {
      return MayMatchByFooter(group);
    } catch (const parquet::ParquetException&) {
      return true;  // The footer contradicts itself. Reading the group will say how.
    }
  }

  Status ReadRowGroup(int group, const Sink& sink) const {
    // A failure of the sink is not the file's, and keeps its own words.
    Status from_sink;
    const Status status = Read(group, [&](std::shared_ptr<arrow::RecordBatch> batch) {
      from_sink = sink(std::move(batch));
      return from_sink;
    });
    return from_sink.ok() ? WithContext(status, "{}", where_) : from_sink;
  }

 private:
  bool MayMatchByFooter(int group) const {
    const auto row_group = metadata_->RowGroup(group);
    for (std::size_t i = 0; i < plan_->where.size(); ++i) {
      const auto& column = plan_->conditions[i];
      if (column.is_partition) continue;
      ColumnBounds bounds;
      const int leaf = condition_places_[i] ? tops_[*condition_places_[i]].leaf : -1;
      if (!condition_places_[i]) {
        bounds.null_count = bounds.num_rows = row_group->num_rows();
      } else if (leaf >= 0) {
        bounds = GroupBounds(*row_group->ColumnChunk(leaf), *tops_[*condition_places_[i]].type, *column.physical.type,
                             row_group->num_rows());
      }
      if (!delta::MayMatch(bounds, plan_->where[i], *column.physical.type)) return false;
    }
    return true;
  }

  // A column of the file at the top level.
  struct Top {
    std::vector<int> leaves;
    int leaf = -1;  // The only one, if its values are the column's.
    std::shared_ptr<arrow::DataType> type;
  };

  Status OpenFile(objectstore::ObjectStore& store) {
    ASSIGN_OR_RETURN(const std::string key, DecodePath(file_.path, store.uri()));
    ASSIGN_OR_RETURN(input_, store.Open(key));
    ASSIGN_OR_RETURN(const std::int64_t size, input_->GetSize());
    if (size != file_.size) return Corrupt("it has {} bytes, the log says {}", size, file_.size);
    ASSIGN_OR_RETURN(const auto reader, MakeReader());
    metadata_ = reader->parquet_reader()->metadata();
    const auto& fields = reader->manifest().schema_fields;
    for (const auto& field : fields) {
      Top top{.leaves = {}, .leaf = field.column_index, .type = field.field->type()};
      CollectLeaves(field, top.leaves);
      tops_.push_back(std::move(top));
    }
    const auto place_of = [&](const ScanColumn& column) -> std::optional<std::size_t> {
      if (column.is_partition) return std::nullopt;
      const auto it = std::find_if(fields.begin(), fields.end(),
                                   [&](const auto& field) { return IsColumn(*field.field, column.physical); });
      return it == fields.end() ? std::nullopt : std::optional(static_cast<std::size_t>(it - fields.begin()));
    };
    for (const auto& column : plan_->columns) places_.push_back(place_of(column));
    for (const auto& column : plan_->conditions) condition_places_.push_back(place_of(column));
    const bool by_id = std::any_of(plan_->columns.begin(), plan_->columns.end(),
                                   [](const auto& column) { return column.physical.field_id.has_value(); });
    const bool has_ids = std::any_of(fields.begin(), fields.end(), [](const auto& field) {
      return field.field->metadata() != nullptr && field.field->metadata()->FindKey("PARQUET:field_id") >= 0;
    });
    if (by_id && !has_ids && !fields.empty()) {
      return Corrupt("its columns have no field ids, but the table maps columns by id (columnMapping)");
    }
    first_rows_.push_back(0);
    for (int group = 0; group < metadata_->num_row_groups(); ++group) {
      first_rows_.push_back(first_rows_.back() + metadata_->RowGroup(group)->num_rows());
    }
    if (file_.deletion_vector) {
      ASSIGN_OR_RETURN(live_, ReadLiveRows(store, *file_.deletion_vector, first_rows_.back()));
    }
    return Status::OK();
  }

  // One for each use: Arrow's readers hold state.
  Result<std::unique_ptr<parquet::arrow::FileReader>> MakeReader(const std::vector<int>& dictionary_leaves = {}) const {
    parquet::ArrowReaderProperties properties(/*use_threads=*/false);
    for (const int leaf : dictionary_leaves) properties.set_read_dictionary(leaf, true);
    properties.set_coerce_int96_timestamp_unit(arrow::TimeUnit::MICRO);
    properties.set_batch_size(kBatchRows);
    parquet::arrow::FileReaderBuilder builder;
    RETURN_NOT_OK(Broken(builder.Open(input_, parquet::default_reader_properties(), metadata_)));
    std::unique_ptr<parquet::arrow::FileReader> reader;
    RETURN_NOT_OK(Broken(builder.properties(properties)->Build(&reader)));
    return reader;
  }

  // Streams the columns at these places of one row group; each batch's columns are in the order of `places`.
  Result<std::unique_ptr<arrow::RecordBatchReader>> Stream(const parquet::arrow::FileReader& reader, int group,
                                                           const std::vector<std::size_t>& places) const {
    std::vector<int> leaves;
    for (const std::size_t place : places) {
      leaves.insert(leaves.end(), tops_[place].leaves.begin(), tops_[place].leaves.end());
    }
    auto stream = const_cast<parquet::arrow::FileReader&>(reader).GetRecordBatchReader({group}, leaves);
    RETURN_NOT_OK(Broken(stream.status()));
    return stream;
  }

  Result<std::shared_ptr<arrow::Array>> Column(const ScanColumn& column, const std::shared_ptr<arrow::Array>& stored,
                                               std::int64_t rows) const {
    if (column.is_partition) {
      const auto value = file_.partition_values.find(column.physical.name);
      return PartitionColumn(value == file_.partition_values.end() ? std::nullopt : value->second, column.physical.type,
                             rows, column.field->name());
    }
    if (stored == nullptr) return arrow::MakeArrayOfNull(column.physical.type, rows);
    auto conformed = Conform(stored, column.physical);
    if (!conformed.ok()) {
      return Corrupt("its column '{}' of type {} does not fit the table's type {}: {}", column.field->name(),
                     stored->type()->ToString(), column.physical.type->ToString(), conformed.status().message());
    }
    return conformed;
  }

  using StoredColumns = std::map<std::size_t, std::shared_ptr<arrow::Array>>;  // By place, a whole row group long.

  // Leaves of texts that conditions look at and the answer does not have, where each value is the index of one in the
  // group's dictionary: the comparison is made once for each text.
  std::vector<int> DictionaryLeaves(int group) const {
    std::vector<int> leaves;
    for (const auto& place : condition_places_) {
      if (!place || tops_[*place].leaf < 0 || !arrow::is_base_binary_like(tops_[*place].type->id())) continue;
      if (std::find(places_.begin(), places_.end(), place) != places_.end()) continue;
      const auto pages = metadata_->RowGroup(group)->ColumnChunk(tops_[*place].leaf)->encoding_stats();
      const auto is_index = [](const parquet::PageEncodingStats& page) {
        return page.page_type == parquet::PageType::DICTIONARY_PAGE ||
               page.encoding == parquet::Encoding::RLE_DICTIONARY ||
               page.encoding == parquet::Encoding::PLAIN_DICTIONARY;
      };
      if (!pages.empty() && std::all_of(pages.begin(), pages.end(), is_index)) leaves.push_back(tops_[*place].leaf);
    }
    return leaves;
  }

  // Which of these rows satisfy a condition. `stored`: the column as the file has it; nullptr: the file has it not.
  Result<std::shared_ptr<arrow::BooleanArray>> Satisfying(std::size_t condition,
                                                          const std::shared_ptr<arrow::Array>& stored,
                                                          std::int64_t rows) const {
    const auto& column = plan_->conditions[condition];
    const auto& comparison = plan_->where[condition];
    if (stored == nullptr || stored->type_id() != arrow::Type::DICTIONARY) {
      ASSIGN_OR_RETURN(const auto values, Column(column, stored, rows));
      return Matches(values, comparison);
    }
    const auto& indexed = static_cast<const arrow::DictionaryArray&>(*stored);
    ASSIGN_OR_RETURN(const auto texts, Column(column, indexed.dictionary(), indexed.dictionary()->length()));
    ASSIGN_OR_RETURN(const auto text_matches, Matches(texts, comparison));
    const bool null_matches = Satisfies(std::nullopt, comparison);
    ASSIGN_OR_RETURN(auto bits, arrow::AllocateEmptyBitmap(rows));
    for (std::int64_t i = 0; i < rows; ++i) {
      const bool matches = indexed.IsNull(i) ? null_matches : text_matches->Value(indexed.GetValueIndex(i));
      arrow::bit_util::SetBitTo(bits->mutable_data(), i, matches);
    }
    return std::make_shared<arrow::BooleanArray>(rows, std::move(bits));
  }

  // Which rows of the group go into the answer; nullptr: all. Fills `stored` with the columns that were read for it and
  // that the answer has.
  Result<std::shared_ptr<arrow::BooleanArray>> Select(int group, const parquet::arrow::FileReader& reader,
                                                      StoredColumns& stored) const {
    const std::int64_t rows = first_rows_[group + 1] - first_rows_[group];
    std::shared_ptr<arrow::BooleanArray> mask;
    if (live_ != nullptr) mask = std::make_shared<arrow::BooleanArray>(rows, live_, nullptr, 0, first_rows_[group]);
    std::vector<std::size_t> places;
    for (const auto& place : condition_places_) {
      if (place) places.push_back(*place);
    }
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
    std::unique_ptr<arrow::RecordBatchReader> stream;
    if (!places.empty()) {
      ASSIGN_OR_RETURN(stream, Stream(reader, group, places));
    }
    arrow::ArrayVector masks;
    std::map<std::size_t, arrow::ArrayVector> kept;
    for (std::int64_t done = 0; done < rows;) {
      std::shared_ptr<arrow::RecordBatch> batch;
      std::int64_t length = rows;
      if (stream != nullptr) {
        RETURN_NOT_OK(Broken(stream->ReadNext(&batch)));
        if (batch == nullptr) return Corrupt("row group {} has {} rows, its columns {}", group, rows, done);
        length = batch->num_rows();
        if (length > rows - done) return Corrupt("row group {} has {} rows, its columns more", group, rows);
      }
      std::shared_ptr<arrow::BooleanArray> of_batch;
      if (mask != nullptr) of_batch = std::static_pointer_cast<arrow::BooleanArray>(mask->Slice(done, length));
      const auto stored_at = [&](std::size_t place) {
        return batch->column(static_cast<int>(std::lower_bound(places.begin(), places.end(), place) - places.begin()));
      };
      for (std::size_t i = 0; i < plan_->where.size(); ++i) {
        const auto& column = plan_->conditions[i];
        // The file's value satisfies it, or it would not be read.
        if (column.is_partition && !IsNan(column)) continue;
        ASSIGN_OR_RETURN(auto matches,
                         Satisfying(i, condition_places_[i] ? stored_at(*condition_places_[i]) : nullptr, length));
        if (of_batch == nullptr) {
          of_batch = std::move(matches);
        } else {
          ASSIGN_OR_RETURN(of_batch, And(*of_batch, *matches));
        }
      }
      for (const std::size_t place : places) {
        if (std::find(places_.begin(), places_.end(), place) != places_.end()) kept[place].push_back(stored_at(place));
      }
      if (of_batch != nullptr) masks.push_back(std::move(of_batch));
      done += length;
    }
    for (auto& [place, chunks] : kept) {
      ASSIGN_OR_RETURN(stored[place], arrow::Concatenate(chunks));
    }
    if (masks.empty()) return nullptr;
    ASSIGN_OR_RETURN(const auto whole, arrow::Concatenate(masks));
    return std::static_pointer_cast<arrow::BooleanArray>(whole);
  }

  bool IsNan(const ScanColumn& column) const {
    const auto value = file_.partition_values.find(column.physical.name);
    return value != file_.partition_values.end() && value->second == "NaN";
  }

  Status Read(int group, const Sink& sink) const {
    const std::int64_t rows = first_rows_[group + 1] - first_rows_[group];
    std::vector<int> dictionary_leaves;
    try {
      dictionary_leaves = DictionaryLeaves(group);
    } catch (const parquet::ParquetException& e) {
      return Corrupt("row group {}: {}", group, e.what());
    }
    ASSIGN_OR_RETURN(const auto reader, MakeReader(dictionary_leaves));
    StoredColumns stored;
    std::shared_ptr<arrow::BooleanArray> mask;
    if (live_ != nullptr || !plan_->where.empty()) {
      ASSIGN_OR_RETURN(mask, Select(group, *reader, stored));
      if (mask != nullptr && mask->true_count() == 0) return Status::OK();
    }
    std::vector<std::size_t> places;
    for (const auto& place : places_) {
      if (place && stored.count(*place) == 0) places.push_back(*place);
    }
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());

    std::unique_ptr<arrow::RecordBatchReader> stream;
    if (!places.empty()) {
      ASSIGN_OR_RETURN(stream, Stream(*reader, group, places));
    }
    std::int64_t done = 0;
    while (done < rows) {
      std::shared_ptr<arrow::RecordBatch> next;
      std::int64_t length = std::min(kBatchRows, rows - done);
      if (stream != nullptr) {
        RETURN_NOT_OK(Broken(stream->ReadNext(&next)));
        if (next == nullptr) return Corrupt("row group {} has {} rows, its columns {}", group, rows, done);
        length = next->num_rows();
        if (length > rows - done) return Corrupt("row group {} has {} rows, its columns more", group, rows);
      }
      const std::int64_t begin = std::exchange(done, done + length);
      std::shared_ptr<arrow::BooleanArray> selected;
      if (mask != nullptr) {
        selected = std::static_pointer_cast<arrow::BooleanArray>(mask->Slice(begin, length));
        const std::int64_t count = selected->true_count();
        if (count == 0) continue;
        if (count == length) selected = nullptr;
      }
      arrow::ArrayVector columns;
      for (std::size_t i = 0; i < places_.size(); ++i) {
        std::shared_ptr<arrow::Array> found;
        if (places_[i]) {
          const auto whole = stored.find(*places_[i]);
          found = whole != stored.end()
                      ? whole->second->Slice(begin, length)
                      : next->column(static_cast<int>(std::lower_bound(places.begin(), places.end(), *places_[i]) -
                                                      places.begin()));
        }
        ASSIGN_OR_RETURN(auto column, Column(plan_->columns[i], found, length));
        if (selected != nullptr) {
          ASSIGN_OR_RETURN(const auto kept, arrow::compute::Filter(column, selected));
          column = kept.make_array();
        }
        columns.push_back(std::move(column));
      }
      const std::int64_t kept = selected == nullptr ? length : selected->true_count();
      RETURN_NOT_OK(sink(arrow::RecordBatch::Make(plan_->schema, kept, std::move(columns))));
    }
    return Status::OK();
  }

  const std::shared_ptr<const ScanPlan> plan_;
  const AddFile file_;
  std::string where_;
  std::shared_ptr<arrow::io::RandomAccessFile> input_;
  std::shared_ptr<parquet::FileMetaData> metadata_;
  std::vector<Top> tops_;
  std::vector<std::optional<std::size_t>> places_;            // Of plan_->columns among tops_.
  std::vector<std::optional<std::size_t>> condition_places_;  // Of plan_->conditions.
  std::vector<std::int64_t> first_rows_;                      // By row group, and after the last.
  std::shared_ptr<arrow::Buffer> live_;                       // Null: no row is deleted.
};

FileScan::FileScan(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FileScan::~FileScan() = default;

Result<std::unique_ptr<FileScan>> FileScan::Open(objectstore::ObjectStore& store, std::shared_ptr<const ScanPlan> plan,
                                                 AddFile file) {
  auto impl = std::make_unique<Impl>(std::move(plan), std::move(file));
  RETURN_NOT_OK(impl->Open(store));
  return std::unique_ptr<FileScan>(new FileScan(std::move(impl)));
}

int FileScan::num_row_groups() const { return impl_->num_row_groups(); }
bool FileScan::MayMatch(int group) const { return impl_->MayMatch(group); }
Status FileScan::ReadRowGroup(int group, const Sink& sink) const { return impl_->ReadRowGroup(group, sink); }

namespace {

// The member `column` of stats.`group`, as text.
std::optional<std::string> StatsText(const simdjson::dom::object& stats, const char* group, const std::string& column) {
  std::string_view text;
  // Not by JSON pointer or path: the name may hold any character.
  simdjson::dom::object members;
  if (stats[group].get(members) != simdjson::SUCCESS || members[column].get(text) != simdjson::SUCCESS)
    return std::nullopt;
  return std::string(text);
}

}  // namespace

Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> ReadDataFile(objectstore::ObjectStore& store,
                                                                      const Snapshot& snapshot, const AddFile& file,
                                                                      const std::vector<std::string>& columns) {
  // The caller's snapshot outlives the plan.
  ASSIGN_OR_RETURN(auto plan, ScanPlan::Make(SnapshotPtr(SnapshotPtr(), &snapshot), columns, {}));
  ASSIGN_OR_RETURN(const auto scan, FileScan::Open(store, std::move(plan), file));
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (int group = 0; group < scan->num_row_groups(); ++group) {
    RETURN_NOT_OK(scan->ReadRowGroup(group, [&](std::shared_ptr<arrow::RecordBatch> batch) {
      batches.push_back(std::move(batch));
      return Status::OK();
    }));
  }
  return batches;
}

std::optional<TimestampBounds> TimestampStats(const AddFile& file, const std::string& column) {
  if (!file.stats) return std::nullopt;
  thread_local simdjson::dom::parser parser;
  simdjson::dom::object stats;
  if (parser.parse(*file.stats).get(stats) != simdjson::SUCCESS) return std::nullopt;
  const auto min_text = StatsText(stats, "minValues", column);
  const auto max_text = StatsText(stats, "maxValues", column);
  if (!min_text || !max_text) return std::nullopt;
  const auto min = ParseTimestampMicros(*min_text);
  const auto max = ParseTimestampMicros(*max_text);
  if (!min || !max) return std::nullopt;
  return TimestampBounds{.min_us = *min, .max_us = *max + 1000};
}

std::optional<std::int64_t> NumRecords(const AddFile& file) {
  if (!file.stats) return std::nullopt;
  thread_local simdjson::dom::parser parser;
  simdjson::dom::object stats;
  std::int64_t records = 0;
  if (parser.parse(*file.stats).get(stats) != simdjson::SUCCESS ||
      stats["numRecords"].get(records) != simdjson::SUCCESS) {
    return std::nullopt;
  }
  return records;
}

std::optional<std::int64_t> NumLiveRecords(const AddFile& file) {
  auto records = NumRecords(file);
  if (records && file.deletion_vector) *records -= file.deletion_vector->cardinality;
  return records;
}

}  // namespace millrace::delta
