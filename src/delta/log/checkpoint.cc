#include "delta/log/checkpoint.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/table.h>
#include <parquet/arrow/writer.h>
#include <simdjson.h>

#include <algorithm>
#include <utility>

#include "base/kill_point.h"
#include "delta/log/log_replay.h"
#include "delta/text/interval_text.h"

namespace millrace::delta {
namespace {

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::int64_t kRowsPerBatch = 32'768;

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
  RETURN_NOT_OK(ReadCheckpointFiles(store, {key}, [&](Action&& action) {
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

}  // namespace millrace::delta
