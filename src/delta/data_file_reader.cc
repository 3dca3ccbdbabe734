#include <arrow/array.h>
#include <arrow/array/util.h>
#include <arrow/buffer_builder.h>
#include <arrow/compute/api.h>
#include <arrow/table.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/file_reader.h>
#include <simdjson.h>

#include <algorithm>
#include <utility>

#include "delta/data_file.h"
#include "delta/file_path.h"
#include "delta/partition_values.h"
#include "delta/time_text.h"

namespace millrace::delta {
namespace {

// One column of the answer and where it comes from.
struct Source {
  std::shared_ptr<arrow::Field> field;
  bool is_partition = false;
};

void CollectLeaves(const parquet::arrow::SchemaField& field, std::vector<int>& leaves) {
  if (field.column_index >= 0) leaves.push_back(field.column_index);
  for (const auto& child : field.children) CollectLeaves(child, leaves);
}

Result<std::shared_ptr<arrow::Array>> Conform(const std::shared_ptr<arrow::Array>& array,
                                              const std::shared_ptr<arrow::DataType>& type);

// Members by name, in the order of `type`; missing ones are null.
Result<std::shared_ptr<arrow::Array>> ConformStruct(const arrow::StructArray& array,
                                                    const std::shared_ptr<arrow::DataType>& type) {
  std::vector<std::shared_ptr<arrow::Array>> members;
  for (const auto& field : type->fields()) {
    std::shared_ptr<arrow::Array> member = array.GetFieldByName(field->name());
    if (member == nullptr) {
      ASSIGN_OR_RETURN(member, arrow::MakeArrayOfNull(field->type(), array.length()));
    } else {
      ASSIGN_OR_RETURN(member, Conform(member, field->type()));
    }
    members.push_back(std::move(member));
  }
  std::shared_ptr<arrow::Buffer> validity;
  if (array.null_count() > 0) {
    // field() has applied the offset to the members; the bitmap follows suit by a copy.
    arrow::TypedBufferBuilder<bool> bits;
    RETURN_NOT_OK(bits.Reserve(array.length()));
    for (std::int64_t i = 0; i < array.length(); ++i) bits.UnsafeAppend(array.IsValid(i));
    ASSIGN_OR_RETURN(validity, bits.Finish());
  }
  return std::make_shared<arrow::StructArray>(type, array.length(), std::move(members), std::move(validity));
}

// The same values in the table's type. Foreign files may hold narrower integers, other time units or other member
// orders.
Result<std::shared_ptr<arrow::Array>> Conform(const std::shared_ptr<arrow::Array>& array,
                                              const std::shared_ptr<arrow::DataType>& type) {
  if (array->type()->Equals(*type)) return array;
  if (type->id() == arrow::Type::STRUCT && array->type_id() == arrow::Type::STRUCT) {
    return ConformStruct(static_cast<const arrow::StructArray&>(*array), type);
  }
  if (type->id() == arrow::Type::LIST && array->type_id() == arrow::Type::LIST) {
    const auto& list = static_cast<const arrow::ListArray&>(*array);
    ASSIGN_OR_RETURN(auto values, Conform(list.values(), type->field(0)->type()));
    auto data = list.data()->Copy();
    data->type = type;
    data->child_data = {values->data()};
    return arrow::MakeArray(data);
  }
  if (type->id() == arrow::Type::MAP && array->type_id() == arrow::Type::MAP) {
    const auto& map = static_cast<const arrow::MapArray&>(*array);
    const auto& map_type = static_cast<const arrow::MapType&>(*type);
    ASSIGN_OR_RETURN(auto keys, Conform(map.keys(), map_type.key_type()));
    ASSIGN_OR_RETURN(auto items, Conform(map.items(), map_type.item_type()));
    const auto entries = std::make_shared<arrow::StructArray>(map_type.value_type(), keys->length(),
                                                              arrow::ArrayVector{std::move(keys), std::move(items)});
    auto data = map.data()->Copy();
    data->type = type;
    data->child_data = {entries->data()};
    return arrow::MakeArray(data);
  }
  arrow::compute::CastOptions options = arrow::compute::CastOptions::Safe(type);
  options.allow_time_truncate = true;
  return arrow::compute::Cast(*array, type, options);
}

class FileReader {
 public:
  FileReader(const Snapshot& snapshot, const AddFile& file) : snapshot_(snapshot), file_(file) {}

  Status Plan(const std::vector<std::string>& columns) {
    std::vector<std::string> names = columns;
    if (names.empty()) names = snapshot_.schema->field_names();
    const auto& partition_columns = snapshot_.metadata.partition_columns;
    for (const auto& name : names) {
      auto field = snapshot_.schema->GetFieldByName(name);
      if (field == nullptr) return InvalidInput("the table has no column '{}'", name);
      const bool is_partition =
          std::find(partition_columns.begin(), partition_columns.end(), name) != partition_columns.end();
      sources_.push_back({std::move(field), is_partition});
    }
    return Status::OK();
  }

  Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> Read(objectstore::ObjectStore& store) {
    ASSIGN_OR_RETURN(const std::string key, DecodePath(file_.path));
    ASSIGN_OR_RETURN(const auto input, store.Open(key));
    ASSIGN_OR_RETURN(const std::int64_t size, input->GetSize());
    if (size != file_.size) return Corrupt("it has {} bytes, the log says {}", size, file_.size);

    parquet::ArrowReaderProperties properties;
    properties.set_coerce_int96_timestamp_unit(arrow::TimeUnit::MICRO);
    parquet::arrow::FileReaderBuilder builder;
    RETURN_NOT_OK(Broken(builder.Open(input)));
    std::unique_ptr<parquet::arrow::FileReader> reader;
    RETURN_NOT_OK(Broken(builder.properties(properties)->Build(&reader)));
    const std::vector<int> leaves = LeavesOf(*reader);

    std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
    for (int group = 0; group < reader->num_row_groups(); ++group) {
      const std::int64_t rows = reader->parquet_reader()->metadata()->RowGroup(group)->num_rows();
      std::shared_ptr<arrow::RecordBatch> stored;
      if (!leaves.empty()) {
        auto table = reader->ReadRowGroup(group, leaves);
        RETURN_NOT_OK(Broken(table.status()));
        auto combined = (*table)->CombineChunksToBatch();
        RETURN_NOT_OK(Broken(combined.status()));
        stored = std::move(*combined);
      }
      ASSIGN_OR_RETURN(auto batch, Assemble(stored, rows));
      if (rows > 0) batches.push_back(std::move(batch));
    }
    return batches;
  }

 private:
  // What Parquet itself reports has no kind of ours: the bytes are not what was written.
  static Status Broken(const Status& status) {
    if (status.ok() || KindOf(status) != ErrorKind::kInternal) return status;
    return Corrupt("it is not readable Parquet: {}", status.message());
  }

  std::vector<int> LeavesOf(const parquet::arrow::FileReader& reader) const {
    std::vector<int> leaves;
    for (const auto& field : reader.manifest().schema_fields) {
      const bool wanted = std::any_of(sources_.begin(), sources_.end(), [&](const Source& source) {
        return !source.is_partition && source.field->name() == field.field->name();
      });
      if (wanted) CollectLeaves(field, leaves);
    }
    return leaves;
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Assemble(const std::shared_ptr<arrow::RecordBatch>& stored,
                                                       std::int64_t rows) const {
    arrow::FieldVector fields;
    arrow::ArrayVector columns;
    for (const auto& source : sources_) {
      const auto& type = source.field->type();
      const auto found =
          stored == nullptr || source.is_partition ? nullptr : stored->GetColumnByName(source.field->name());
      std::shared_ptr<arrow::Array> column;
      if (source.is_partition) {
        const auto value = file_.partition_values.find(source.field->name());
        ASSIGN_OR_RETURN(column, PartitionColumn(value == file_.partition_values.end() ? std::nullopt : value->second,
                                                 type, rows, source.field->name()));
      } else if (found == nullptr) {
        ASSIGN_OR_RETURN(column, arrow::MakeArrayOfNull(type, rows));
      } else {
        auto conformed = Conform(found, type);
        if (!conformed.ok()) {
          return Corrupt("its column '{}' of type {} does not fit the table's type {}: {}", source.field->name(),
                         found->type()->ToString(), type->ToString(), conformed.status().message());
        }
        column = std::move(*conformed);
      }
      fields.push_back(source.field);
      columns.push_back(std::move(column));
    }
    return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), rows, std::move(columns));
  }

  const Snapshot& snapshot_;
  const AddFile& file_;
  std::vector<Source> sources_;
};

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
  if (file.deletion_vector) {
    return Unsupported("data file {} of {}: it has a deletion vector (feature deletionVectors)", file.path,
                       store.uri());
  }
  FileReader reader(snapshot, file);
  RETURN_NOT_OK(reader.Plan(columns));
  auto batches = reader.Read(store);
  if (!batches.ok()) return WithContext(batches.status(), "data file {} of {}", file.path, store.uri());
  return batches;
}

std::optional<TimestampBounds> TimestampStats(const AddFile& file, const std::string& column) {
  if (!file.stats) return std::nullopt;
  simdjson::dom::parser parser;
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
  simdjson::dom::parser parser;
  simdjson::dom::object stats;
  std::int64_t records = 0;
  if (parser.parse(*file.stats).get(stats) != simdjson::SUCCESS ||
      stats["numRecords"].get(records) != simdjson::SUCCESS) {
    return std::nullopt;
  }
  return records;
}

}  // namespace millrace::delta
