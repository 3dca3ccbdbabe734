#include <arrow/array.h>
#include <arrow/array/concatenate.h>
#include <arrow/array/util.h>
#include <arrow/compute/api.h>
#include <arrow/table.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/bitmap_generate.h>
#include <arrow/util/bitmap_ops.h>
#include <arrow/util/key_value_metadata.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/file_reader.h>
#include <parquet/statistics.h>
#include <simdjson.h>

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "delta/data/data_file.h"
#include "delta/data/deletion_vector.h"
#include "delta/data/file_scan_internal.h"
#include "delta/data/partition_values.h"
#include "delta/data/row_group_internal.h"
#include "delta/data/stats_json_internal.h"
#include "delta/text/column_name.h"
#include "delta/text/file_path.h"
#include "delta/text/time_text.h"

namespace millrace::delta {
namespace {

void CollectLeaves(const parquet::arrow::SchemaField& field, std::vector<int>& leaves) {
  if (field.column_index >= 0) leaves.push_back(field.column_index);
  for (const auto& child : field.children) CollectLeaves(child, leaves);
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

  Status ReadRowGroup(int group, const TakeRows& take) const {
    // A failure of `take` is not the file's, and keeps its own words.
    Status taken;
    const auto guarded = [&](std::shared_ptr<arrow::RecordBatch> batch) {
      taken = take(std::move(batch));
      return taken;
    };
    Status status;
    try {
      status = live_ == nullptr && plan_->where.empty() ? ReadAll(group, guarded) : ReadSelected(group, guarded);
    } catch (const parquet::ParquetStatusException& e) {
      status = BrokenParquet(e.status());
    } catch (const parquet::ParquetException& e) {
      status = Corrupt("row group {}: {}", group, e.what());
    }
    return taken.ok() ? WithContext(status, "{}", where_) : taken;
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
    ASSIGN_OR_RETURN(const std::string key, DecodePath(file_.path, store));
    ASSIGN_OR_RETURN(input_, store.Open(key));
    ASSIGN_OR_RETURN(const std::int64_t size, input_->GetSize());
    if (size != file_.size) return Corrupt("it has {} bytes, the log says {}", size, file_.size);
    parquet::ArrowReaderProperties properties;
    properties.set_coerce_int96_timestamp_unit(arrow::TimeUnit::MICRO);
    parquet::arrow::FileReaderBuilder builder;
    RETURN_NOT_OK(BrokenParquet(builder.Open(input_)));
    std::unique_ptr<parquet::arrow::FileReader> reader;
    RETURN_NOT_OK(BrokenParquet(builder.properties(properties)->Build(&reader)));
    metadata_ = reader->parquet_reader()->metadata();
    const auto& fields = reader->manifest().schema_fields;
    for (const auto& field : fields) {
      Top top{.leaves = {}, .leaf = field.column_index, .type = field.field->type()};
      CollectLeaves(field, top.leaves);
      tops_.push_back(std::move(top));
    }
    arrow::FieldVector stored;
    for (const auto& field : fields) stored.push_back(field.field);
    const auto find = [&](const std::vector<ScanColumn>& columns, auto& places) -> Status {
      for (const auto& column : columns) {
        std::optional<std::size_t> place;
        if (!column.is_partition) {
          ASSIGN_OR_RETURN(place, FindColumn(stored, column.physical));
        }
        places.push_back(place);
      }
      return Status::OK();
    };
    RETURN_NOT_OK(find(plan_->columns, places_));
    RETURN_NOT_OK(find(plan_->conditions, condition_places_));
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

  Result<std::shared_ptr<arrow::Array>> Column(const ScanColumn& column, const std::shared_ptr<arrow::Array>& stored,
                                               std::int64_t rows) const {
    if (column.is_partition) {
      const auto* const value = FindPartitionValue(file_.partition_values, column.physical.name);
      return PartitionColumn(value == nullptr ? std::nullopt : *value, column.physical.type, rows,
                             column.field->name());
    }
    if (stored == nullptr) return arrow::MakeArrayOfNull(column.physical.type, rows);
    auto conformed = Conform(stored, column.physical);
    if (!conformed.ok()) {
      return Corrupt("its column '{}' of type {} does not fit the table's type {}: {}", column.field->name(),
                     stored->type()->ToString(), column.physical.type->ToString(), conformed.status().message());
    }
    return conformed;
  }

  std::int64_t RowsOf(int group) const { return first_rows_[group + 1] - first_rows_[group]; }

  // Whether every page of the leaf holds indices into one dictionary.
  bool IsDictionary(int group, int leaf) const {
    const auto pages = metadata_->RowGroup(group)->ColumnChunk(leaf)->encoding_stats();
    const auto is_index = [](const parquet::PageEncodingStats& page) {
      return page.page_type == parquet::PageType::DICTIONARY_PAGE ||
             page.encoding == parquet::Encoding::RLE_DICTIONARY || page.encoding == parquet::Encoding::PLAIN_DICTIONARY;
    };
    return !pages.empty() && std::all_of(pages.begin(), pages.end(), is_index);
  }

  std::vector<int> LeavesOf(const std::vector<std::size_t>& places) const {
    std::vector<int> leaves;
    for (const std::size_t place : places) {
      leaves.insert(leaves.end(), tops_[place].leaves.begin(), tops_[place].leaves.end());
    }
    return leaves;
  }

  // Every row of the group, its columns decoded side by side.
  Status ReadAll(int group, const TakeRows& take) const {
    const std::int64_t rows = RowsOf(group);
    const std::vector<std::size_t> places = Distinct(places_);
    ASSIGN_OR_RETURN(const auto row_group, RowGroup::Open(input_, metadata_, group, {}));
    std::unique_ptr<arrow::RecordBatchReader> stream;
    if (!places.empty()) {
      ASSIGN_OR_RETURN(stream, row_group->Columns(LeavesOf(places)));
    }
    for (std::int64_t done = 0; done < rows;) {
      std::shared_ptr<arrow::RecordBatch> next;
      std::int64_t length = std::min(kDecodedRows, rows - done);
      if (stream != nullptr) {
        RETURN_NOT_OK(BrokenParquet(stream->ReadNext(&next)));
        if (next == nullptr) return Corrupt("row group {} has {} rows, its columns {}", group, rows, done);
        length = next->num_rows();
        if (length > rows - done) return Corrupt("row group {} has {} rows, its columns more", group, rows);
      }
      done += length;
      arrow::ArrayVector columns;
      for (std::size_t i = 0; i < places_.size(); ++i) {
        std::shared_ptr<arrow::Array> stored;
        if (places_[i]) {
          const auto at = std::lower_bound(places.begin(), places.end(), *places_[i]) - places.begin();
          stored = next->column(static_cast<int>(at));
        }
        ASSIGN_OR_RETURN(auto column, Column(plan_->columns[i], stored, length));
        columns.push_back(std::move(column));
      }
      RETURN_NOT_OK(take(arrow::RecordBatch::Make(plan_->schema, length, std::move(columns))));
    }
    return Status::OK();
  }

  using Rows = std::shared_ptr<arrow::BooleanArray>;  // Which rows of a group; without nulls.

  static Rows Part(const Rows& rows, std::int64_t begin, std::int64_t length) {
    return std::static_pointer_cast<arrow::BooleanArray>(rows->Slice(begin, length));
  }

  // The rows that the answer may have, as far as no column of the file is needed to tell.
  Result<Rows> Candidates(int group) const {
    const std::int64_t rows = RowsOf(group);
    bool none = false;
    for (std::size_t i = 0; i < plan_->where.size(); ++i) {
      const auto& column = plan_->conditions[i];
      // The file's partition value satisfies it, or it would not be read; only NaN is not decided before.
      if (condition_places_[i] || (column.is_partition && !IsNan(column))) continue;
      ASSIGN_OR_RETURN(const auto value, Column(column, nullptr, 1));
      ASSIGN_OR_RETURN(const auto matches, Matches(value, plan_->where[i]));
      none = none || !matches->Value(0);
    }
    if (live_ != nullptr && !none) {
      return std::make_shared<arrow::BooleanArray>(rows, live_, nullptr, 0, first_rows_[group]);
    }
    ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> bits, arrow::AllocateBitmap(rows));
    arrow::bit_util::SetBitsTo(bits->mutable_data(), 0, rows, !none);
    return std::make_shared<arrow::BooleanArray>(rows, std::move(bits));
  }

  bool IsNan(const ScanColumn& column) const {
    const auto* const value = FindPartitionValue(file_.partition_values, column.physical.name);
    return value != nullptr && *value == "NaN";
  }

  // Which of these rows satisfy a condition. `stored`: the column as the file has it.
  Result<Rows> Satisfying(std::size_t condition, const std::shared_ptr<arrow::Array>& stored) const {
    const auto& column = plan_->conditions[condition];
    const auto& comparison = plan_->where[condition];
    const std::int64_t rows = stored->length();
    if (stored->type_id() != arrow::Type::DICTIONARY) {
      ASSIGN_OR_RETURN(const auto values, Column(column, stored, rows));
      return Matches(values, comparison);
    }
    // The comparison is made once for each text of the dictionary.
    const auto& indexed = static_cast<const arrow::DictionaryArray&>(*stored);
    const std::int64_t num_texts = indexed.dictionary()->length();
    ASSIGN_OR_RETURN(const auto texts, Column(column, indexed.dictionary(), num_texts));
    ASSIGN_OR_RETURN(const auto text_matches, Matches(texts, comparison));
    std::vector<std::uint8_t> by_index(static_cast<std::size_t>(num_texts));
    for (std::int64_t i = 0; i < num_texts; ++i) by_index[static_cast<std::size_t>(i)] = text_matches->Value(i);
    const bool null_matches = Satisfies(std::nullopt, comparison);
    const auto* indices = static_cast<const arrow::Int32Array&>(*indexed.indices()).raw_values();
    const bool has_nulls = indexed.null_count() > 0;
    // Nothing of Parquet's has compared the indices with the dictionary.
    bool is_corrupt = false;
    ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> bits, arrow::AllocateBitmap(rows));
    std::int64_t row = 0;
    arrow::internal::GenerateBitsUnrolled(bits->mutable_data(), 0, rows, [&]() -> bool {
      const std::int64_t i = row++;
      if (has_nulls && indexed.IsNull(i)) return null_matches;
      const auto index = static_cast<std::size_t>(static_cast<std::uint32_t>(indices[i]));
      if (index >= by_index.size()) {
        is_corrupt = true;
        return false;
      }
      return by_index[index] != 0;
    });
    if (is_corrupt) return Corrupt("its column '{}' has an index beyond its dictionary", column.field->name());
    return std::make_shared<arrow::BooleanArray>(rows, std::move(bits));
  }

  // A column on its way into the answer.
  struct Source {
    std::unique_ptr<ColumnStream> stream;  // Null: `pieces` are all.
    std::deque<ColumnPiece> pieces;        // Decoded for a condition.
    arrow::ArrayVector ready;              // Of the answer's rows alone, in the table's type.
    std::int64_t num_ready = 0;
  };

  // Columns of conditions, each once, those first that are read with the least effort.
  std::vector<std::size_t> ConditionOrder(int group) const {
    std::vector<std::size_t> places = Distinct(condition_places_);
    const auto row_group = metadata_->RowGroup(group);
    const auto effort = [&](std::size_t place) {
      std::int64_t bytes = 0;
      for (const int leaf : tops_[place].leaves) {
        bytes += row_group->ColumnChunk(leaf)->total_compressed_size();
      }
      return bytes;
    };
    std::stable_sort(places.begin(), places.end(), [&](std::size_t a, std::size_t b) { return effort(a) < effort(b); });
    return places;
  }

  // Only the rows that are live and satisfy the conditions: condition after condition, then the rest of the answer's
  // columns, and of each column only pages with a row that is still wanted.
  Status ReadSelected(int group, const TakeRows& take) const {
    const std::int64_t num_rows = RowsOf(group);
    const std::vector<std::size_t> answer = Distinct(places_);
    const std::vector<std::size_t> conditions = ConditionOrder(group);
    ASSIGN_OR_RETURN(Rows rows, Candidates(group));
    std::int64_t left = rows->true_count();
    if (left == 0) return Status::OK();

    // Where few rows are wanted, indices are less work than texts.
    std::vector<int> dictionaries;
    for (const auto& places : {answer, conditions}) {
      for (const std::size_t place : places) {
        const int leaf = tops_[place].leaf;
        if (conditions.empty() || leaf < 0 || !arrow::is_base_binary_like(tops_[place].type->id())) continue;
        if (IsDictionary(group, leaf)) dictionaries.push_back(leaf);
      }
    }
    ASSIGN_OR_RETURN(const auto row_group, RowGroup::Open(input_, metadata_, group, dictionaries));

    std::map<std::size_t, Source> sources;
    row_group->Fetch(LeavesOf(conditions));
    for (const std::size_t place : conditions) {
      const bool is_answer = std::binary_search(answer.begin(), answer.end(), place);
      ASSIGN_OR_RETURN(const auto stream, row_group->Column(tops_[place].leaves, rows));
      ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> bits, arrow::AllocateEmptyBitmap(num_rows));
      left = 0;
      while (true) {
        ASSIGN_OR_RETURN(auto piece, stream->Next());
        if (!piece) break;
        Rows wanted = Part(rows, piece->first_row, piece->values->length());
        for (std::size_t i = 0; i < plan_->where.size(); ++i) {
          if (condition_places_[i] != place) continue;
          ASSIGN_OR_RETURN(const auto matches, Satisfying(i, piece->values));
          ASSIGN_OR_RETURN(wanted, And(*wanted, *matches));
        }
        const std::int64_t count = wanted->true_count();
        if (count == 0) continue;
        left += count;
        arrow::internal::CopyBitmap(wanted->values()->data(), wanted->offset(), wanted->length(), bits->mutable_data(),
                                    piece->first_row);
        if (is_answer) sources[place].pieces.push_back(std::move(*piece));
      }
      if (left == 0) return Status::OK();
      rows = std::make_shared<arrow::BooleanArray>(num_rows, std::move(bits));
    }
    std::vector<std::size_t> rest;
    for (const std::size_t place : answer) {
      if (sources.count(place) == 0) rest.push_back(place);
    }
    row_group->Fetch(LeavesOf(rest));
    for (const std::size_t place : rest) {
      ASSIGN_OR_RETURN(sources[place].stream, row_group->Column(tops_[place].leaves, rows));
    }
    return Send(rows, left, sources, take);
  }

  // The next rows of the answer from a column, into `ready`.
  Status Advance(std::size_t place, const Rows& rows, Source& source) const {
    std::optional<ColumnPiece> piece;
    if (source.stream != nullptr) {
      ASSIGN_OR_RETURN(piece, source.stream->Next());
    } else if (!source.pieces.empty()) {
      piece = std::move(source.pieces.front());
      source.pieces.pop_front();
    }
    if (!piece) return Corrupt("a column ends before the rows of its row group");
    const std::int64_t length = piece->values->length();
    const Rows wanted = Part(rows, piece->first_row, length);
    const std::int64_t count = wanted->true_count();
    if (count == 0) return Status::OK();
    auto values = std::move(piece->values);
    if (count < length) {
      ASSIGN_OR_RETURN(const auto kept, arrow::compute::Filter(values, wanted));
      values = kept.make_array();
    }
    const auto i = std::find(places_.begin(), places_.end(), place) - places_.begin();
    ASSIGN_OR_RETURN(values, Column(plan_->columns[static_cast<std::size_t>(i)], values, count));
    source.ready.push_back(std::move(values));
    source.num_ready += count;
    return Status::OK();
  }

  // Takes `length` rows off what is ready.
  static Result<std::shared_ptr<arrow::Array>> Take(Source& source, std::int64_t length) {
    source.num_ready -= length;
    arrow::ArrayVector taken;
    while (length > 0) {
      auto& front = source.ready.front();
      const std::int64_t part = std::min(length, front->length());
      length -= part;
      taken.push_back(front->Slice(0, part));
      front = front->Slice(part);
      if (front->length() == 0) source.ready.erase(source.ready.begin());
    }
    if (taken.size() == 1) return taken.front();
    return arrow::Concatenate(taken);
  }

  // Columns come in pieces that differ from column to column: a batch is as long as all of them reach.
  Status Send(const Rows& rows, std::int64_t left, std::map<std::size_t, Source>& sources, const TakeRows& take) const {
    while (left > 0) {
      std::int64_t length = std::min(left, kDecodedRows);
      for (auto& [place, source] : sources) {
        while (source.num_ready < std::min(left, kDecodedRows / 2)) RETURN_NOT_OK(Advance(place, rows, source));
        length = std::min(length, source.num_ready);
      }
      left -= length;
      std::map<std::size_t, std::shared_ptr<arrow::Array>> taken;
      for (auto& [place, source] : sources) {
        ASSIGN_OR_RETURN(taken[place], Take(source, length));
      }
      arrow::ArrayVector columns;
      for (std::size_t i = 0; i < places_.size(); ++i) {
        if (places_[i]) {
          columns.push_back(taken.at(*places_[i]));
        } else {
          ASSIGN_OR_RETURN(auto column, Column(plan_->columns[i], nullptr, length));
          columns.push_back(std::move(column));
        }
      }
      RETURN_NOT_OK(take(arrow::RecordBatch::Make(plan_->schema, length, std::move(columns))));
    }
    return Status::OK();
  }

  static std::vector<std::size_t> Distinct(const std::vector<std::optional<std::size_t>>& places) {
    std::vector<std::size_t> distinct;
    for (const auto& place : places) {
      if (place) distinct.push_back(*place);
    }
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    return distinct;
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
Status FileScan::ReadRowGroup(int group, const TakeRows& take) const { return impl_->ReadRowGroup(group, take); }

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

Status ReadDataFile(objectstore::ObjectStore& store, const Snapshot& snapshot, const AddFile& file,
                    const std::vector<std::string>& columns,
                    const std::function<Status(const std::shared_ptr<arrow::RecordBatch>&)>& take) {
  // The caller's snapshot outlives the plan.
  ASSIGN_OR_RETURN(auto plan, ScanPlan::Make(SnapshotPtr(SnapshotPtr(), &snapshot), columns, {}));
  ASSIGN_OR_RETURN(const auto scan, FileScan::Open(store, std::move(plan), file));
  for (int group = 0; group < scan->num_row_groups(); ++group) {
    RETURN_NOT_OK(scan->ReadRowGroup(group, take));
  }
  return Status::OK();
}

Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> ReadDataFile(objectstore::ObjectStore& store,
                                                                      const Snapshot& snapshot, const AddFile& file,
                                                                      const std::vector<std::string>& columns) {
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  const auto take = [&batches](const std::shared_ptr<arrow::RecordBatch>& batch) {
    batches.push_back(batch);
    return Status::OK();
  };
  RETURN_NOT_OK(ReadDataFile(store, snapshot, file, columns, take));
  return batches;
}

std::optional<TimestampBounds> TimestampStats(const AddFile& file, const std::string& column) {
  if (!file.stats) return std::nullopt;
  thread_local simdjson::dom::parser parser;
  const auto stats = ParseStats(*file.stats, parser);
  if (!stats) return std::nullopt;
  const auto min_text = StatsText(*stats, "minValues", column);
  const auto max_text = StatsText(*stats, "maxValues", column);
  if (!min_text || !max_text) return std::nullopt;
  const auto min = TimestampStatsMin(*min_text);
  const auto max = TimestampStatsMax(*max_text);
  if (!min || !max) return std::nullopt;
  return TimestampBounds{.min_us = *min, .max_us = *max};
}

std::optional<std::int64_t> NumRecords(const AddFile& file) {
  if (!file.stats) return std::nullopt;
  thread_local simdjson::dom::parser parser;
  const auto stats = ParseStats(*file.stats, parser);
  std::int64_t records = 0;
  if (!stats || (*stats)["numRecords"].get(records) != simdjson::SUCCESS) return std::nullopt;
  return records;
}

std::optional<std::int64_t> NumLiveRecords(const AddFile& file) {
  auto records = NumRecords(file);
  if (records && file.deletion_vector) *records -= file.deletion_vector->cardinality;
  return records;
}

}  // namespace millrace::delta
