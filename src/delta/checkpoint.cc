#include "delta/checkpoint.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/table.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/writer.h>
#include <parquet/file_reader.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <utility>

#include "base/kill_point.h"
#include "delta/log_replay.h"

namespace millrace::delta {
namespace {

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::int64_t kRowsPerBatch = 32'768;

// ---- Reading ----------------------------------------------------------------------------------------------------

// One struct column of a checkpoint: typed access to its members by name, null where a member does not exist.
class StructReader {
 public:
  StructReader(std::shared_ptr<arrow::Array> array, std::string file, std::string name)
      : array_(std::static_pointer_cast<arrow::StructArray>(std::move(array))),
        file_(std::move(file)),
        name_(std::move(name)) {}

  bool Has(std::int64_t row) const { return !array_->IsNull(row); }

  Result<std::optional<std::string>> Text(const char* member, std::int64_t row) const {
    const arrow::Array* values = Member(member);
    if (values == nullptr || values->IsNull(row)) return std::nullopt;
    return TextAt(*values, row, member);
  }
  Result<std::string> RequiredText(const char* member, std::int64_t row) const {
    ASSIGN_OR_RETURN(auto value, Text(member, row));
    if (!value) return Missing(member);
    return std::move(*value);
  }
  Result<std::optional<std::int64_t>> Number(const char* member, std::int64_t row) const {
    const arrow::Array* values = Member(member);
    if (values == nullptr || values->IsNull(row)) return std::nullopt;
    switch (values->type_id()) {
      case arrow::Type::INT64:
        return static_cast<const arrow::Int64Array&>(*values).Value(row);
      case arrow::Type::INT32:
        return static_cast<const arrow::Int32Array&>(*values).Value(row);
      default:
        return WrongType(member, *values);
    }
  }
  Result<std::int64_t> RequiredNumber(const char* member, std::int64_t row) const {
    ASSIGN_OR_RETURN(auto value, Number(member, row));
    if (!value) return Missing(member);
    return *value;
  }
  Result<bool> Bool(const char* member, std::int64_t row, bool if_null) const {
    const arrow::Array* values = Member(member);
    if (values == nullptr || values->IsNull(row)) return if_null;
    if (values->type_id() != arrow::Type::BOOL) return WrongType(member, *values);
    return static_cast<const arrow::BooleanArray&>(*values).Value(row);
  }
  Result<PartitionValues> Map(const char* member, std::int64_t row) const {
    PartitionValues out;
    const arrow::Array* values = Member(member);
    if (values == nullptr || values->IsNull(row)) return out;
    if (values->type_id() != arrow::Type::MAP) return WrongType(member, *values);
    const auto& map = static_cast<const arrow::MapArray&>(*values);
    for (std::int64_t i = map.value_offset(row); i < map.value_offset(row + 1); ++i) {
      ASSIGN_OR_RETURN(auto key, TextAt(*map.keys(), i, member));
      if (map.items()->IsNull(i)) {
        out.emplace(std::move(key), std::nullopt);
      } else {
        ASSIGN_OR_RETURN(auto value, TextAt(*map.items(), i, member));
        out.emplace(std::move(key), std::move(value));
      }
    }
    return out;
  }
  Result<std::map<std::string, std::string>> StringMap(const char* member, std::int64_t row) const {
    ASSIGN_OR_RETURN(auto values, Map(member, row));
    std::map<std::string, std::string> out;
    for (auto& [key, value] : values) {
      if (value) out.emplace(key, std::move(*value));
    }
    return out;
  }
  Result<std::optional<std::vector<std::string>>> Strings(const char* member, std::int64_t row) const {
    const arrow::Array* values = Member(member);
    if (values == nullptr || values->IsNull(row)) return std::nullopt;
    if (values->type_id() != arrow::Type::LIST) return WrongType(member, *values);
    const auto& list = static_cast<const arrow::ListArray&>(*values);
    std::vector<std::string> out;
    for (std::int64_t i = list.value_offset(row); i < list.value_offset(row + 1); ++i) {
      ASSIGN_OR_RETURN(auto text, TextAt(*list.values(), i, member));
      out.push_back(std::move(text));
    }
    return out;
  }
  Result<std::optional<DeletionVectorDescriptor>> DeletionVector(std::int64_t row) const {
    const auto values = array_->GetFieldByName("deletionVector");
    if (values == nullptr || values->IsNull(row)) return std::nullopt;
    if (values->type_id() != arrow::Type::STRUCT) return WrongType("deletionVector", *values);
    const StructReader inner(values, file_, name_ + ".deletionVector");
    DeletionVectorDescriptor out;
    ASSIGN_OR_RETURN(out.storage_type, inner.RequiredText("storageType", row));
    ASSIGN_OR_RETURN(out.path_or_inline_dv, inner.RequiredText("pathOrInlineDv", row));
    ASSIGN_OR_RETURN(const auto offset, inner.Number("offset", row));
    if (offset) out.offset = static_cast<std::int32_t>(*offset);
    ASSIGN_OR_RETURN(const auto size, inner.RequiredNumber("sizeInBytes", row));
    out.size_in_bytes = static_cast<std::int32_t>(size);
    ASSIGN_OR_RETURN(out.cardinality, inner.RequiredNumber("cardinality", row));
    return out;
  }

 private:
  const arrow::Array* Member(const char* member) const {
    const int index = static_cast<const arrow::StructType&>(*array_->type()).GetFieldIndex(member);
    return index < 0 ? nullptr : array_->field(index).get();
  }
  Result<std::string> TextAt(const arrow::Array& values, std::int64_t row, const char* member) const {
    switch (values.type_id()) {
      case arrow::Type::STRING:
        return static_cast<const arrow::StringArray&>(values).GetString(row);
      case arrow::Type::LARGE_STRING:
        return static_cast<const arrow::LargeStringArray&>(values).GetString(row);
      case arrow::Type::STRING_VIEW:
        return static_cast<const arrow::StringViewArray&>(values).GetString(row);
      default:
        return WrongType(member, values);
    }
  }
  Status Missing(const char* member) const { return Corrupt("checkpoint {}: {}.{} is null", file_, name_, member); }
  Status WrongType(const char* member, const arrow::Array& values) const {
    return Corrupt("checkpoint {}: {}.{} has the type {}", file_, name_, member, values.type()->ToString());
  }

  std::shared_ptr<arrow::StructArray> array_;
  std::string file_;
  std::string name_;
};

Result<Action> ReadTxn(const StructReader& r, std::int64_t row) {
  Txn txn;
  ASSIGN_OR_RETURN(txn.app_id, r.RequiredText("appId", row));
  ASSIGN_OR_RETURN(txn.version, r.RequiredNumber("version", row));
  ASSIGN_OR_RETURN(txn.last_updated_ms, r.Number("lastUpdated", row));
  return txn;
}

Result<Action> ReadAdd(const StructReader& r, std::int64_t row) {
  AddFile add;
  ASSIGN_OR_RETURN(add.path, r.RequiredText("path", row));
  ASSIGN_OR_RETURN(add.partition_values, r.Map("partitionValues", row));
  ASSIGN_OR_RETURN(add.size, r.RequiredNumber("size", row));
  ASSIGN_OR_RETURN(add.modification_time_ms, r.RequiredNumber("modificationTime", row));
  ASSIGN_OR_RETURN(add.data_change, r.Bool("dataChange", row, false));
  ASSIGN_OR_RETURN(add.stats, r.Text("stats", row));
  ASSIGN_OR_RETURN(add.deletion_vector, r.DeletionVector(row));
  ASSIGN_OR_RETURN(add.tags, r.StringMap("tags", row));
  return add;
}

Result<Action> ReadRemove(const StructReader& r, std::int64_t row) {
  RemoveFile remove;
  ASSIGN_OR_RETURN(remove.path, r.RequiredText("path", row));
  ASSIGN_OR_RETURN(remove.deletion_timestamp_ms, r.Number("deletionTimestamp", row));
  ASSIGN_OR_RETURN(remove.data_change, r.Bool("dataChange", row, false));
  ASSIGN_OR_RETURN(remove.extended_file_metadata, r.Bool("extendedFileMetadata", row, false));
  ASSIGN_OR_RETURN(remove.partition_values, r.Map("partitionValues", row));
  ASSIGN_OR_RETURN(remove.size, r.Number("size", row));
  ASSIGN_OR_RETURN(remove.deletion_vector, r.DeletionVector(row));
  return remove;
}

Result<Action> ReadMetadata(const StructReader& r, std::int64_t row) {
  Metadata metadata;
  ASSIGN_OR_RETURN(metadata.id, r.RequiredText("id", row));
  ASSIGN_OR_RETURN(metadata.name, r.Text("name", row));
  ASSIGN_OR_RETURN(metadata.description, r.Text("description", row));
  ASSIGN_OR_RETURN(metadata.schema_string, r.RequiredText("schemaString", row));
  ASSIGN_OR_RETURN(auto columns, r.Strings("partitionColumns", row));
  if (columns) metadata.partition_columns = std::move(*columns);
  ASSIGN_OR_RETURN(metadata.configuration, r.StringMap("configuration", row));
  ASSIGN_OR_RETURN(metadata.created_time_ms, r.Number("createdTime", row));
  return metadata;
}

Result<Action> ReadProtocol(const StructReader& r, std::int64_t row) {
  Protocol protocol;
  ASSIGN_OR_RETURN(const auto reader, r.RequiredNumber("minReaderVersion", row));
  ASSIGN_OR_RETURN(const auto writer, r.RequiredNumber("minWriterVersion", row));
  protocol.min_reader_version = static_cast<std::int32_t>(reader);
  protocol.min_writer_version = static_cast<std::int32_t>(writer);
  ASSIGN_OR_RETURN(protocol.reader_features, r.Strings("readerFeatures", row));
  ASSIGN_OR_RETURN(protocol.writer_features, r.Strings("writerFeatures", row));
  return protocol;
}

Result<Action> ReadDomain(const StructReader& r, std::int64_t row) {
  DomainMetadata domain;
  ASSIGN_OR_RETURN(domain.domain, r.RequiredText("domain", row));
  ASSIGN_OR_RETURN(domain.configuration, r.RequiredText("configuration", row));
  ASSIGN_OR_RETURN(domain.removed, r.Bool("removed", row, false));
  return domain;
}

struct ActionColumn {
  const char* name;
  Result<Action> (*read)(const StructReader&, std::int64_t row);
};
constexpr std::array<ActionColumn, 6> kActionColumns = {{{"protocol", ReadProtocol},
                                                         {"metaData", ReadMetadata},
                                                         {"txn", ReadTxn},
                                                         {"domainMetadata", ReadDomain},
                                                         {"add", ReadAdd},
                                                         {"remove", ReadRemove}}};

// The leaves of the columns that we read; the parsed copies of statistics and partition values are left alone.
std::vector<int> WantedLeaves(const parquet::SchemaDescriptor& schema) {
  std::vector<int> wanted;
  for (int i = 0; i < schema.num_columns(); ++i) {
    const std::string path = schema.Column(i)->path()->ToDotString();
    if (path.starts_with("add.stats_parsed.") || path.starts_with("add.partitionValues_parsed.")) continue;
    const std::string top = path.substr(0, path.find('.'));
    const bool action = std::any_of(kActionColumns.begin(), kActionColumns.end(),
                                    [&](const ActionColumn& column) { return top == column.name; });
    if (action || top == "sidecar") wanted.push_back(i);
  }
  return wanted;
}

Status ReadRows(const std::shared_ptr<arrow::Table>& table, const std::string& key,
                const std::function<Status(Action&&)>& sink) {
  ASSIGN_OR_RETURN(const auto batch, table->CombineChunksToBatch());
  std::vector<std::pair<const ActionColumn*, StructReader>> columns;
  for (const auto& column : kActionColumns) {
    const auto array = batch->GetColumnByName(column.name);
    if (array == nullptr) continue;
    if (array->type_id() != arrow::Type::STRUCT) return Corrupt("checkpoint {}: {} is not a struct", key, column.name);
    columns.emplace_back(&column, StructReader(array, key, column.name));
  }
  const auto sidecars = batch->GetColumnByName("sidecar");
  if (sidecars != nullptr && sidecars->null_count() < sidecars->length()) {
    return Unsupported("checkpoint {} refers to sidecar files (feature v2Checkpoint)", key);
  }
  for (std::int64_t row = 0; row < batch->num_rows(); ++row) {
    for (const auto& [column, reader] : columns) {
      if (!reader.Has(row)) continue;
      ASSIGN_OR_RETURN(Action action, column->read(reader, row));
      RETURN_NOT_OK(sink(std::move(action)));
    }
  }
  return Status::OK();
}

// ---- Writing ----------------------------------------------------------------------------------------------------

std::shared_ptr<arrow::DataType> StringMapType() {
  return std::make_shared<arrow::MapType>(arrow::field("key", arrow::utf8(), false),
                                          arrow::field("value", arrow::utf8()));
}
std::shared_ptr<arrow::DataType> StringListType() { return arrow::list(arrow::field("element", arrow::utf8())); }
std::shared_ptr<arrow::DataType> DeletionVectorType() {
  return arrow::struct_({arrow::field("storageType", arrow::utf8()), arrow::field("pathOrInlineDv", arrow::utf8()),
                         arrow::field("offset", arrow::int32()), arrow::field("sizeInBytes", arrow::int32()),
                         arrow::field("cardinality", arrow::int64())});
}

enum Column { kTxn, kAdd, kRemove, kMetadata, kProtocol, kDomain };

std::shared_ptr<arrow::Schema> CheckpointSchema() {
  using arrow::field;
  return arrow::schema({
      field("txn", arrow::struct_({field("appId", arrow::utf8()), field("version", arrow::int64()),
                                   field("lastUpdated", arrow::int64())})),
      field("add", arrow::struct_({field("path", arrow::utf8()), field("partitionValues", StringMapType()),
                                   field("size", arrow::int64()), field("modificationTime", arrow::int64()),
                                   field("dataChange", arrow::boolean()), field("stats", arrow::utf8()),
                                   field("tags", StringMapType()), field("deletionVector", DeletionVectorType())})),
      field("remove",
            arrow::struct_({field("path", arrow::utf8()), field("deletionTimestamp", arrow::int64()),
                            field("dataChange", arrow::boolean()), field("extendedFileMetadata", arrow::boolean()),
                            field("partitionValues", StringMapType()), field("size", arrow::int64()),
                            field("deletionVector", DeletionVectorType())})),
      field("metaData",
            arrow::struct_(
                {field("id", arrow::utf8()), field("name", arrow::utf8()), field("description", arrow::utf8()),
                 field("format", arrow::struct_({field("provider", arrow::utf8()), field("options", StringMapType())})),
                 field("schemaString", arrow::utf8()), field("partitionColumns", StringListType()),
                 field("configuration", StringMapType()), field("createdTime", arrow::int64())})),
      field("protocol",
            arrow::struct_({field("minReaderVersion", arrow::int32()), field("minWriterVersion", arrow::int32()),
                            field("readerFeatures", StringListType()), field("writerFeatures", StringListType())})),
      field("domainMetadata", arrow::struct_({field("domain", arrow::utf8()), field("configuration", arrow::utf8()),
                                              field("removed", arrow::boolean())})),
  });
}

// Appends one value after the other to the members of a struct builder, in their order.
class StructAppender {
 public:
  explicit StructAppender(arrow::ArrayBuilder* builder) : builder_(static_cast<arrow::StructBuilder*>(builder)) {
    status_ = builder_->Append();
  }
  StructAppender& Add(const std::string& text) {
    auto* b = Next<arrow::StringBuilder>();
    return Then([&] { return b->Append(text); });
  }
  StructAppender& Add(const std::optional<std::string>& text) {
    auto* b = Next<arrow::StringBuilder>();
    return Then([&] { return text ? b->Append(*text) : b->AppendNull(); });
  }
  StructAppender& Add(std::optional<std::int64_t> value) {
    auto* b = Next<arrow::Int64Builder>();
    return Then([&] { return value ? b->Append(*value) : b->AppendNull(); });
  }
  StructAppender& AddInt32(std::optional<std::int32_t> value) {
    auto* b = Next<arrow::Int32Builder>();
    return Then([&] { return value ? b->Append(*value) : b->AppendNull(); });
  }
  StructAppender& AddBool(bool value) {
    auto* b = Next<arrow::BooleanBuilder>();
    return Then([&] { return b->Append(value); });
  }
  template <typename MapOfStrings>
  StructAppender& AddMap(const MapOfStrings& values) {
    auto* b = Next<arrow::MapBuilder>();
    auto* keys = static_cast<arrow::StringBuilder*>(b->key_builder());
    auto* items = static_cast<arrow::StringBuilder*>(b->item_builder());
    Then([&] { return b->Append(); });
    for (const auto& [key, value] : values) {
      Then([&] { return keys->Append(key); });
      if constexpr (std::is_same_v<MapOfStrings, PartitionValues>) {
        Then([&] { return value ? items->Append(*value) : items->AppendNull(); });
      } else {
        Then([&] { return items->Append(value); });
      }
    }
    return *this;
  }
  StructAppender& AddStrings(const std::optional<std::vector<std::string>>& values) {
    auto* b = Next<arrow::ListBuilder>();
    if (!values) return Then([&] { return b->AppendNull(); });
    Then([&] { return b->Append(); });
    for (const auto& value : *values) {
      Then([&] { return static_cast<arrow::StringBuilder*>(b->value_builder())->Append(value); });
    }
    return *this;
  }
  StructAppender& AddDeletionVector(const std::optional<DeletionVectorDescriptor>& vector) {
    auto* b = Next<arrow::StructBuilder>();
    if (!vector) return Then([&] { return b->AppendNull(); });
    StructAppender inner(b);
    inner.Add(vector->storage_type).Add(vector->path_or_inline_dv).AddInt32(vector->offset);
    inner.AddInt32(vector->size_in_bytes).Add(std::optional(vector->cardinality));
    return Then([&] { return inner.status_; });
  }
  StructAppender& AddParquetFormat() {
    StructAppender inner(Next<arrow::StructBuilder>());
    inner.Add(std::string("parquet")).AddMap(std::map<std::string, std::string>());
    return Then([&] { return inner.status_; });
  }
  const Status& status() const { return status_; }

 private:
  template <typename Builder>
  Builder* Next() {
    return static_cast<Builder*>(builder_->field_builder(next_++));
  }
  template <typename Append>
  StructAppender& Then(Append append) {
    if (status_.ok()) status_ = append();
    return *this;
  }

  arrow::StructBuilder* builder_;
  int next_ = 0;
  Status status_;
};

// Gathers rows into batches and writes them.
class CheckpointWriter {
 public:
  static Result<std::unique_ptr<CheckpointWriter>> Make(std::shared_ptr<objectstore::Upload> upload) {
    auto writer = std::unique_ptr<CheckpointWriter>(new CheckpointWriter(std::move(upload)));
    const auto properties = parquet::WriterProperties::Builder().compression(parquet::Compression::ZSTD)->build();
    ASSIGN_OR_RETURN(writer->file_, parquet::arrow::FileWriter::Open(*writer->schema_, arrow::default_memory_pool(),
                                                                     writer->upload_, properties));
    for (const auto& field : writer->schema_->fields()) {
      std::unique_ptr<arrow::ArrayBuilder> builder;
      RETURN_NOT_OK(arrow::MakeBuilder(arrow::default_memory_pool(), field->type(), &builder));
      writer->builders_.push_back(std::move(builder));
    }
    return writer;
  }

  Status Append(const Protocol& protocol) {
    StructAppender row = Row(kProtocol);
    row.AddInt32(protocol.min_reader_version).AddInt32(protocol.min_writer_version);
    row.AddStrings(protocol.reader_features).AddStrings(protocol.writer_features);
    return EndRow(kProtocol, row);
  }
  Status Append(const Metadata& metadata) {
    StructAppender row = Row(kMetadata);
    row.Add(metadata.id).Add(metadata.name).Add(metadata.description).AddParquetFormat().Add(metadata.schema_string);
    row.AddStrings(metadata.partition_columns).AddMap(metadata.configuration).Add(metadata.created_time_ms);
    return EndRow(kMetadata, row);
  }
  Status Append(const Txn& txn) {
    StructAppender row = Row(kTxn);
    row.Add(txn.app_id).Add(std::optional(txn.version)).Add(txn.last_updated_ms);
    return EndRow(kTxn, row);
  }
  Status Append(const AddFile& add) {
    StructAppender row = Row(kAdd);
    row.Add(add.path).AddMap(add.partition_values).Add(std::optional(add.size));
    // dataChange is about a commit; in a checkpoint it says nothing, and writers put false.
    row.Add(std::optional(add.modification_time_ms)).AddBool(false).Add(add.stats).AddMap(add.tags);
    row.AddDeletionVector(add.deletion_vector);
    return EndRow(kAdd, row);
  }
  Status Append(const RemoveFile& remove) {
    StructAppender row = Row(kRemove);
    row.Add(remove.path).Add(remove.deletion_timestamp_ms).AddBool(false).AddBool(remove.extended_file_metadata);
    row.AddMap(remove.partition_values).Add(remove.size).AddDeletionVector(remove.deletion_vector);
    return EndRow(kRemove, row);
  }
  Status Append(const DomainMetadata& domain) {
    StructAppender row = Row(kDomain);
    row.Add(domain.domain).Add(domain.configuration).AddBool(domain.removed);
    return EndRow(kDomain, row);
  }

  Status Finish() {
    RETURN_NOT_OK(Flush());
    RETURN_NOT_OK(file_->Close());
    return upload_->Finish();
  }

 private:
  explicit CheckpointWriter(std::shared_ptr<objectstore::Upload> upload)
      : schema_(CheckpointSchema()), upload_(std::move(upload)) {}

  StructAppender Row(Column column) { return StructAppender(builders_[column].get()); }
  Status EndRow(Column column, const StructAppender& row) {
    RETURN_NOT_OK(row.status());
    for (std::size_t i = 0; i < builders_.size(); ++i) {
      if (i != column) RETURN_NOT_OK(builders_[i]->AppendNull());
    }
    return ++rows_in_batch_ == kRowsPerBatch ? Flush() : Status::OK();
  }
  Status Flush() {
    if (rows_in_batch_ == 0) return Status::OK();
    std::vector<std::shared_ptr<arrow::Array>> columns;
    for (auto& builder : builders_) {
      ASSIGN_OR_RETURN(auto array, builder->Finish());
      columns.push_back(std::move(array));
    }
    const auto batch = arrow::RecordBatch::Make(schema_, rows_in_batch_, std::move(columns));
    rows_in_batch_ = 0;
    RETURN_NOT_OK(file_->WriteRecordBatch(*batch));
    KillPoint("checkpoint.mid");
    return Status::OK();
  }

  const std::shared_ptr<arrow::Schema> schema_;
  const std::shared_ptr<objectstore::Upload> upload_;
  std::unique_ptr<parquet::arrow::FileWriter> file_;
  std::vector<std::unique_ptr<arrow::ArrayBuilder>> builders_;
  std::int64_t rows_in_batch_ = 0;
};

bool IsExpired(const RemoveFile& remove, std::int64_t now_ms, std::optional<std::int64_t> retention_ms) {
  // Without a time of deletion the spec counts the tombstone as old; with a retention that we cannot read we keep all.
  return retention_ms && remove.deletion_timestamp_ms.value_or(0) < now_ms - *retention_ms;
}

// What a checkpoint that was read back held.
struct Contents {
  std::int64_t rows = 0;
  std::int64_t adds = 0;
  std::int64_t bytes = 0;
};

// Returns the number of rows, or kCorrupt if it is not a checkpoint of this snapshot.
Result<std::int64_t> VerifyCheckpoint(objectstore::ObjectStore& store, const std::string& key,
                                      const Snapshot& snapshot) {
  Contents found;
  std::map<std::string, std::int64_t> txns;
  std::string metadata_id;
  RETURN_NOT_OK(ReadCheckpointFile(store, key, [&](Action&& action) {
    ++found.rows;
    if (const auto* add = std::get_if<AddFile>(&action)) {
      ++found.adds;
      found.bytes += add->size;
      if (snapshot.files.Find(FileKey(add->path, add->deletion_vector)) == nullptr) {
        return Corrupt("checkpoint {} holds a file that is not live: {}", key, add->path);
      }
    } else if (const auto* txn = std::get_if<Txn>(&action)) {
      txns[txn->app_id] = txn->version;
    } else if (const auto* metadata = std::get_if<Metadata>(&action)) {
      metadata_id = metadata->id;
    }
    return Status::OK();
  }));
  const bool same_txns =
      txns.size() == snapshot.txns.size() &&
      std::all_of(txns.begin(), txns.end(), [&](const auto& t) { return snapshot.TxnVersion(t.first) == t.second; });
  if (found.adds != static_cast<std::int64_t>(snapshot.files.size()) || found.bytes != snapshot.num_bytes ||
      !same_txns || metadata_id != snapshot.metadata.id) {
    return Corrupt(
        "checkpoint {} read back differs from the snapshot of version {}: {} of {} files, {} of {} transactions", key,
        snapshot.version, found.adds, snapshot.files.size(), txns.size(), snapshot.txns.size());
  }
  return found.rows;
}

Status WriteRows(objectstore::ObjectStore& store, const std::string& key, const Snapshot& snapshot,
                 std::int64_t now_ms) {
  std::optional<std::int64_t> retention_ms = 7 * kDayMs;
  const auto property = snapshot.metadata.configuration.find("delta.deletedFileRetentionDuration");
  if (property != snapshot.metadata.configuration.end()) retention_ms = IntervalToMillis(property->second);

  ASSIGN_OR_RETURN(auto upload, store.StartUpload(key));
  ASSIGN_OR_RETURN(const auto writer, CheckpointWriter::Make(std::move(upload)));
  RETURN_NOT_OK(writer->Append(snapshot.protocol));
  RETURN_NOT_OK(writer->Append(snapshot.metadata));
  for (const auto& [app_id, txn] : snapshot.txns) RETURN_NOT_OK(writer->Append(txn));
  for (const auto& [name, domain] : snapshot.domains) RETURN_NOT_OK(writer->Append(domain));
  for (const auto& [path, remove] : snapshot.tombstones) {
    if (!IsExpired(remove, now_ms, retention_ms)) RETURN_NOT_OK(writer->Append(remove));
  }
  for (const auto& [path, add] : snapshot.files) RETURN_NOT_OK(writer->Append(add));
  return writer->Finish();
}

}  // namespace

std::string CheckpointKey(TableVersion version) {
  return fmt::format("{}{:020d}.checkpoint.parquet", kLogPrefix, version);
}

Status ReadCheckpointFile(objectstore::ObjectStore& store, const std::string& key,
                          const std::function<Status(Action&&)>& sink) {
  ASSIGN_OR_RETURN(const auto file, store.Open(key));
  // What Parquet itself cannot read has no kind of ours: the file is broken.
  const auto broken = [&](const Status& status) {
    return Corrupt("checkpoint {} cannot be read: {}", key, status.message());
  };
  auto opened = parquet::arrow::OpenFile(file, arrow::default_memory_pool());
  if (!opened.ok()) return broken(opened.status());
  const auto& reader = *opened;
  const std::vector<int> leaves = WantedLeaves(*reader->parquet_reader()->metadata()->schema());
  for (int group = 0; group < reader->num_row_groups(); ++group) {
    auto table = reader->ReadRowGroup(group, leaves);
    if (!table.ok()) return broken(table.status());
    RETURN_NOT_OK(ReadRows(*table, key, sink));
  }
  return Status::OK();
}

Status WriteCheckpointFile(objectstore::ObjectStore& store, const Snapshot& snapshot, std::int64_t now_ms) {
  const std::string key = CheckpointKey(snapshot.version);
  // Another process may have made it already; `_last_checkpoint` may name it, so a good one is left alone.
  Result<std::int64_t> rows = VerifyCheckpoint(store, key, snapshot);
  if (!rows.ok()) {
    RETURN_NOT_OK(WriteRows(store, key, snapshot, now_ms));
    // A checkpoint without a txn, or one that cannot be read, would lose offsets for every reader: look before pointing
    // at it.
    rows = VerifyCheckpoint(store, key, snapshot);
  }
  if (!rows.ok()) {
    if (KindOf(rows.status()) == ErrorKind::kCorrupt) RETURN_NOT_OK(store.Delete(key));
    return rows.status();
  }
  KillPoint("checkpoint.before_last");
  ASSIGN_OR_RETURN(const auto hint, ReadLastCheckpointHint(store));
  if (hint && *hint > snapshot.version) {
    ASSIGN_OR_RETURN(const auto newer, store.Stat(CheckpointKey(*hint)));
    if (newer) return Status::OK();
  }
  ASSIGN_OR_RETURN(const auto info, store.Stat(key));
  if (!info) return Transient("checkpoint {} vanished after it was written", key);
  return store.Put(kLastCheckpointKey, fmt::format(R"({{"version":{},"size":{},"sizeInBytes":{},"numOfAddFiles":{}}})",
                                                   snapshot.version, *rows, info->size, snapshot.files.size()));
}

Result<std::optional<TableVersion>> ReadLastCheckpointHint(objectstore::ObjectStore& store) {
  const auto bytes = store.Read(kLastCheckpointKey);
  if (!bytes.ok()) {
    if (KindOf(bytes.status()) == ErrorKind::kNotFound) return std::nullopt;
    return bytes.status();
  }
  simdjson::dom::parser parser;
  simdjson::dom::object members;
  std::int64_t version = -1;
  const std::string_view text(**bytes);
  if (parser.parse(text.data(), text.size()).get(members) != simdjson::SUCCESS ||
      members["version"].get(version) != simdjson::SUCCESS || version < 0) {
    return std::nullopt;
  }
  return version;
}

std::optional<std::int64_t> IntervalToMillis(const std::string& text) {
  std::istringstream words(text);
  std::string word;
  if (!(words >> word) || (word != "interval" && word != "INTERVAL")) return std::nullopt;
  std::int64_t total = 0;
  std::int64_t count = 0;
  bool any = false;
  while (words >> count >> word) {
    if (word.ends_with('s')) word.pop_back();
    std::int64_t unit = 0;
    if (word == "week") unit = 7 * kDayMs;
    if (word == "day") unit = kDayMs;
    if (word == "hour") unit = 3'600'000;
    if (word == "minute") unit = 60'000;
    if (word == "second") unit = 1000;
    if (word == "millisecond") unit = 1;
    if (unit == 0 || count < 0 || count > 1'000'000'000) return std::nullopt;
    total += count * unit;
    any = true;
  }
  if (!any || !words.eof()) return std::nullopt;
  return total;
}

}  // namespace millrace::delta
