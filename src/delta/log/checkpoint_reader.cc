// Checkpoints of every form as actions: classic and multi-part Parquet, v2 in Parquet or JSON with sidecar files.
// Columns are looked up once a row group; the parsed copies of statistics are read only where the text is missing.
#include <arrow/array.h>
#include <arrow/table.h>
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>
#include <parquet/statistics.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <future>
#include <utility>

#include "delta/data/read_in_order_internal.h"
#include "delta/log/action_json.h"
#include "delta/log/checkpoint.h"
#include "delta/log/log_replay.h"
#include "delta/text/file_path.h"
#include "delta/text/json_text.h"
#include "delta/text/time_text.h"

namespace millrace::delta {
namespace {

constexpr std::string_view kStatsParsed = "add.stats_parsed.";
// A Parquet file in hand takes memory and cores, unlike a commit, which is mostly waited for.
constexpr int kPartsAtOnce = 4;
constexpr std::size_t kActionsAtOnce = 4096;

std::optional<std::string_view> TextAt(const arrow::Array& values, std::int64_t row) {
  switch (values.type_id()) {
    case arrow::Type::STRING:
      return static_cast<const arrow::StringArray&>(values).GetView(row);
    case arrow::Type::LARGE_STRING:
      return static_cast<const arrow::LargeStringArray&>(values).GetView(row);
    case arrow::Type::STRING_VIEW:
      return static_cast<const arrow::StringViewArray&>(values).GetView(row);
    default:
      return std::nullopt;
  }
}

// One member of an action's struct, null in every row if the file does not have it.
class Member {
 public:
  Member(const arrow::StructArray& action, const char* name) : name_(name) {
    const int index = static_cast<const arrow::StructType&>(*action.type()).GetFieldIndex(name);
    if (index < 0) return;
    values_ = action.field(index);
    if (values_->type_id() == arrow::Type::MAP) {
      const auto& map = static_cast<const arrow::MapArray&>(*values_);
      keys_ = map.keys();
      items_ = map.items();
    }
  }

  bool Has(std::int64_t row) const { return values_ != nullptr && values_->IsValid(row); }
  const std::shared_ptr<arrow::Array>& values() const { return values_; }

  Status Get(std::int64_t row, std::optional<std::string>& out) const {
    if (!Has(row)) return Status::OK();
    const auto text = TextAt(*values_, row);
    if (!text) return WrongType();
    out.emplace(*text);
    return Status::OK();
  }
  Status Get(std::int64_t row, std::string& out) const {
    if (!Has(row)) return Missing();
    const auto text = TextAt(*values_, row);
    if (!text) return WrongType();
    out = *text;
    return Status::OK();
  }
  template <typename Int>
  Status Get(std::int64_t row, std::optional<Int>& out) const {
    if (!Has(row)) return Status::OK();
    std::int64_t value = 0;
    RETURN_NOT_OK(Get(row, value));
    if (value < std::numeric_limits<Int>::min() || value > std::numeric_limits<Int>::max()) {
      return Corrupt("{} is out of range: {}", name_, value);
    }
    out = static_cast<Int>(value);
    return Status::OK();
  }
  Status Get(std::int64_t row, std::int64_t& out) const {
    if (!Has(row)) return Missing();
    if (values_->type_id() == arrow::Type::INT64) {
      out = static_cast<const arrow::Int64Array&>(*values_).Value(row);
    } else if (values_->type_id() == arrow::Type::INT32) {
      out = static_cast<const arrow::Int32Array&>(*values_).Value(row);
    } else {
      return WrongType();
    }
    return Status::OK();
  }
  Status Get(std::int64_t row, std::int32_t& out) const {
    std::optional<std::int32_t> value;
    if (!Has(row)) return Missing();
    RETURN_NOT_OK(Get(row, value));
    out = *value;
    return Status::OK();
  }
  // Null is false.
  Status Get(std::int64_t row, bool& out) const {
    out = false;
    if (!Has(row)) return Status::OK();
    if (values_->type_id() != arrow::Type::BOOL) return WrongType();
    out = static_cast<const arrow::BooleanArray&>(*values_).Value(row);
    return Status::OK();
  }
  Status Get(std::int64_t row, PartitionValues& out) const {
    return ForEachEntry(row, [&](std::string_view key, std::optional<std::string_view> value) {
      out.emplace(std::string(key), value ? std::optional<std::string>(*value) : std::nullopt);
    });
  }
  Status Get(std::int64_t row, std::map<std::string, std::string>& out) const {
    return ForEachEntry(row, [&](std::string_view key, std::optional<std::string_view> value) {
      if (value) out.emplace(std::string(key), std::string(*value));
    });
  }
  Status Get(std::int64_t row, std::optional<std::vector<std::string>>& out) const {
    if (!Has(row)) return Status::OK();
    if (values_->type_id() != arrow::Type::LIST) return WrongType();
    const auto& list = static_cast<const arrow::ListArray&>(*values_);
    out.emplace();
    for (std::int64_t i = list.value_offset(row); i < list.value_offset(row + 1); ++i) {
      const auto text = list.values()->IsNull(i) ? std::nullopt : TextAt(*list.values(), i);
      if (!text) return WrongType();
      out->emplace_back(*text);
    }
    return Status::OK();
  }

 private:
  template <typename Take>
  Status ForEachEntry(std::int64_t row, Take take) const {
    if (!Has(row)) return Status::OK();
    if (keys_ == nullptr) return WrongType();
    const auto& map = static_cast<const arrow::MapArray&>(*values_);
    for (std::int64_t i = map.value_offset(row); i < map.value_offset(row + 1); ++i) {
      const auto key = keys_->IsNull(i) ? std::nullopt : TextAt(*keys_, i);
      const auto value = items_->IsNull(i) ? std::nullopt : TextAt(*items_, i);
      if (!key || (!value && items_->IsValid(i))) return WrongType();
      take(*key, value);
    }
    return Status::OK();
  }
  Status Missing() const { return Corrupt("{} is null", name_); }
  Status WrongType() const { return Corrupt("{} has the type {}", name_, values_->type()->ToString()); }

  const char* name_;
  std::shared_ptr<arrow::Array> values_;
  std::shared_ptr<arrow::Array> keys_;
  std::shared_ptr<arrow::Array> items_;
};

// The parsed copy of statistics as the text that it was made from; nothing for a type that has no bounds in JSON.
bool AppendJson(std::string& out, const arrow::Array& values, std::int64_t row, const std::string& name, bool first);

bool AppendMembers(std::string& out, const arrow::StructArray& values, std::int64_t row) {
  out += '{';
  bool any = false;
  for (int i = 0; i < values.num_fields(); ++i) {
    any |= AppendJson(out, *values.field(i), row, values.struct_type()->field(i)->name(), !any);
  }
  out += '}';
  return any;
}

std::optional<std::string> JsonOf(const arrow::Array& values, std::int64_t row) {
  switch (values.type_id()) {
    case arrow::Type::BOOL:
      return static_cast<const arrow::BooleanArray&>(values).Value(row) ? "true" : "false";
    case arrow::Type::INT8:
      return std::to_string(static_cast<const arrow::Int8Array&>(values).Value(row));
    case arrow::Type::INT16:
      return std::to_string(static_cast<const arrow::Int16Array&>(values).Value(row));
    case arrow::Type::INT32:
      return std::to_string(static_cast<const arrow::Int32Array&>(values).Value(row));
    case arrow::Type::INT64:
      return std::to_string(static_cast<const arrow::Int64Array&>(values).Value(row));
    case arrow::Type::FLOAT: {
      const float value = static_cast<const arrow::FloatArray&>(values).Value(row);
      return std::isfinite(value) ? std::optional(fmt::format("{}", value)) : std::nullopt;
    }
    case arrow::Type::DOUBLE: {
      const double value = static_cast<const arrow::DoubleArray&>(values).Value(row);
      return std::isfinite(value) ? std::optional(fmt::format("{}", value)) : std::nullopt;
    }
    case arrow::Type::DECIMAL128:
      return static_cast<const arrow::Decimal128Array&>(values).FormatValue(row);
    case arrow::Type::DATE32: {
      const auto text = FormatDate(static_cast<const arrow::Date32Array&>(values).Value(row));
      return text ? std::optional(Quoted(*text)) : std::nullopt;
    }
    case arrow::Type::TIMESTAMP: {
      const auto& type = static_cast<const arrow::TimestampType&>(*values.type());
      if (type.unit() != arrow::TimeUnit::MICRO) return std::nullopt;
      const auto micros = static_cast<const arrow::TimestampArray&>(values).Value(row);
      const auto text = FormatTimestampMillis(micros, !type.timezone().empty());
      return text ? std::optional(Quoted(*text)) : std::nullopt;
    }
    default: {
      const auto text = TextAt(values, row);
      return text ? std::optional(Quoted(*text)) : std::nullopt;
    }
  }
}

bool AppendJson(std::string& out, const arrow::Array& values, std::int64_t row, const std::string& name, bool first) {
  if (values.IsNull(row)) return false;
  const std::size_t before = out.size();
  if (!first) out += ',';
  AppendQuoted(out, name);
  out += ':';
  if (values.type_id() == arrow::Type::STRUCT) {
    if (AppendMembers(out, static_cast<const arrow::StructArray&>(values), row)) return true;
  } else if (const auto text = JsonOf(values, row)) {
    out += *text;
    return true;
  }
  out.resize(before);
  return false;
}

// The columns of one action, and the action of a row.
class AddColumns {
 public:
  static constexpr const char* kName = "add";
  explicit AddColumns(const arrow::StructArray& a)
      : path_(a, "path"),
        partition_values_(a, "partitionValues"),
        size_(a, "size"),
        modification_time_(a, "modificationTime"),
        data_change_(a, "dataChange"),
        stats_(a, "stats"),
        stats_parsed_(a, "stats_parsed"),
        deletion_vector_(a, "deletionVector"),
        tags_(a, "tags") {}
  Status Read(std::int64_t row, AddFile& add) const {
    RETURN_NOT_OK(path_.Get(row, add.path));
    RETURN_NOT_OK(partition_values_.Get(row, add.partition_values));
    RETURN_NOT_OK(size_.Get(row, add.size));
    RETURN_NOT_OK(modification_time_.Get(row, add.modification_time_ms));
    RETURN_NOT_OK(data_change_.Get(row, add.data_change));
    RETURN_NOT_OK(stats_.Get(row, add.stats));
    if (!add.stats && stats_parsed_.Has(row) && stats_parsed_.values()->type_id() == arrow::Type::STRUCT) {
      std::string json;
      if (AppendMembers(json, static_cast<const arrow::StructArray&>(*stats_parsed_.values()), row)) {
        add.stats = std::move(json);
      }
    }
    RETURN_NOT_OK(ReadDeletionVector(deletion_vector_, row, add.deletion_vector));
    return tags_.Get(row, add.tags);
  }

  static Status ReadDeletionVector(const Member& member, std::int64_t row,
                                   std::optional<DeletionVectorDescriptor>& out) {
    if (!member.Has(row)) return Status::OK();
    if (member.values()->type_id() != arrow::Type::STRUCT) return Corrupt("deletionVector is not a struct");
    const auto& vector = static_cast<const arrow::StructArray&>(*member.values());
    DeletionVectorDescriptor descriptor;
    RETURN_NOT_OK(Member(vector, "storageType").Get(row, descriptor.storage_type));
    RETURN_NOT_OK(Member(vector, "pathOrInlineDv").Get(row, descriptor.path_or_inline_dv));
    RETURN_NOT_OK(Member(vector, "offset").Get(row, descriptor.offset));
    RETURN_NOT_OK(Member(vector, "sizeInBytes").Get(row, descriptor.size_in_bytes));
    RETURN_NOT_OK(Member(vector, "cardinality").Get(row, descriptor.cardinality));
    out = std::move(descriptor);
    return Status::OK();
  }

 private:
  Member path_, partition_values_, size_, modification_time_, data_change_, stats_, stats_parsed_, deletion_vector_,
      tags_;
};

class RemoveColumns {
 public:
  static constexpr const char* kName = "remove";
  explicit RemoveColumns(const arrow::StructArray& a)
      : path_(a, "path"),
        deletion_timestamp_(a, "deletionTimestamp"),
        data_change_(a, "dataChange"),
        extended_file_metadata_(a, "extendedFileMetadata"),
        partition_values_(a, "partitionValues"),
        size_(a, "size"),
        deletion_vector_(a, "deletionVector") {}
  Status Read(std::int64_t row, RemoveFile& remove) const {
    RETURN_NOT_OK(path_.Get(row, remove.path));
    RETURN_NOT_OK(deletion_timestamp_.Get(row, remove.deletion_timestamp_ms));
    RETURN_NOT_OK(data_change_.Get(row, remove.data_change));
    RETURN_NOT_OK(extended_file_metadata_.Get(row, remove.extended_file_metadata));
    RETURN_NOT_OK(partition_values_.Get(row, remove.partition_values));
    RETURN_NOT_OK(size_.Get(row, remove.size));
    return AddColumns::ReadDeletionVector(deletion_vector_, row, remove.deletion_vector);
  }

 private:
  Member path_, deletion_timestamp_, data_change_, extended_file_metadata_, partition_values_, size_, deletion_vector_;
};

class TxnColumns {
 public:
  static constexpr const char* kName = "txn";
  explicit TxnColumns(const arrow::StructArray& a)
      : app_id_(a, "appId"), version_(a, "version"), last_updated_(a, "lastUpdated") {}
  Status Read(std::int64_t row, Txn& txn) const {
    RETURN_NOT_OK(app_id_.Get(row, txn.app_id));
    RETURN_NOT_OK(version_.Get(row, txn.version));
    return last_updated_.Get(row, txn.last_updated_ms);
  }

 private:
  Member app_id_, version_, last_updated_;
};

class MetadataColumns {
 public:
  static constexpr const char* kName = "metaData";
  explicit MetadataColumns(const arrow::StructArray& a) : action_(a) {}
  Status Read(std::int64_t row, Metadata& metadata) const {
    RETURN_NOT_OK(Member(action_, "id").Get(row, metadata.id));
    RETURN_NOT_OK(Member(action_, "name").Get(row, metadata.name));
    RETURN_NOT_OK(Member(action_, "description").Get(row, metadata.description));
    RETURN_NOT_OK(Member(action_, "schemaString").Get(row, metadata.schema_string));
    std::optional<std::vector<std::string>> columns;
    RETURN_NOT_OK(Member(action_, "partitionColumns").Get(row, columns));
    if (columns) metadata.partition_columns = std::move(*columns);
    RETURN_NOT_OK(Member(action_, "configuration").Get(row, metadata.configuration));
    return Member(action_, "createdTime").Get(row, metadata.created_time_ms);
  }

 private:
  const arrow::StructArray& action_;
};

class ProtocolColumns {
 public:
  static constexpr const char* kName = "protocol";
  explicit ProtocolColumns(const arrow::StructArray& a) : action_(a) {}
  Status Read(std::int64_t row, Protocol& protocol) const {
    RETURN_NOT_OK(Member(action_, "minReaderVersion").Get(row, protocol.min_reader_version));
    RETURN_NOT_OK(Member(action_, "minWriterVersion").Get(row, protocol.min_writer_version));
    RETURN_NOT_OK(Member(action_, "readerFeatures").Get(row, protocol.reader_features));
    return Member(action_, "writerFeatures").Get(row, protocol.writer_features);
  }

 private:
  const arrow::StructArray& action_;
};

class DomainColumns {
 public:
  static constexpr const char* kName = "domainMetadata";
  explicit DomainColumns(const arrow::StructArray& a) : action_(a) {}
  Status Read(std::int64_t row, DomainMetadata& domain) const {
    RETURN_NOT_OK(Member(action_, "domain").Get(row, domain.domain));
    RETURN_NOT_OK(Member(action_, "configuration").Get(row, domain.configuration));
    return Member(action_, "removed").Get(row, domain.removed);
  }

 private:
  const arrow::StructArray& action_;
};

class SidecarColumns {
 public:
  static constexpr const char* kName = "sidecar";
  explicit SidecarColumns(const arrow::StructArray& a) : path_(a, "path") {}
  Status Read(std::int64_t row, Sidecar& sidecar) const { return path_.Get(row, sidecar.path); }

 private:
  Member path_;
};

using TakeAction = std::function<Status(Action&&)>;

// Every action of one kind in the batch.
template <typename Columns, typename ActionType>
Status ReadActions(const arrow::RecordBatch& batch, const TakeAction& take) {
  const auto array = batch.GetColumnByName(Columns::kName);
  if (array == nullptr) return Status::OK();
  if (array->type_id() != arrow::Type::STRUCT) return Corrupt("{} is not a struct", Columns::kName);
  const auto& action = static_cast<const arrow::StructArray&>(*array);
  const Columns columns(action);
  for (std::int64_t row = 0; row < action.length(); ++row) {
    if (action.IsNull(row)) continue;
    ActionType value;
    const Status status = columns.Read(row, value);
    if (!status.ok()) return WithContext(status, "{}, row {}", Columns::kName, row);
    RETURN_NOT_OK(take(std::move(value)));
  }
  return Status::OK();
}

// Within a checkpoint no two actions speak of the same thing, so the order of kinds does not matter.
Status ReadBatch(const arrow::RecordBatch& batch, const TakeAction& take) {
  RETURN_NOT_OK((ReadActions<ProtocolColumns, Protocol>(batch, take)));
  RETURN_NOT_OK((ReadActions<MetadataColumns, Metadata>(batch, take)));
  RETURN_NOT_OK((ReadActions<TxnColumns, Txn>(batch, take)));
  RETURN_NOT_OK((ReadActions<DomainColumns, DomainMetadata>(batch, take)));
  RETURN_NOT_OK((ReadActions<SidecarColumns, Sidecar>(batch, take)));
  RETURN_NOT_OK((ReadActions<AddColumns, AddFile>(batch, take)));
  return ReadActions<RemoveColumns, RemoveFile>(batch, take);
}

// Nulls of a leaf in a row group; nullopt: the writer does not say.
std::optional<std::int64_t> NullCount(const parquet::RowGroupMetaData& group, int leaf) {
  const auto chunk = group.ColumnChunk(leaf);
  const auto statistics = chunk->is_stats_set() ? chunk->statistics() : nullptr;
  return statistics != nullptr && statistics->HasNullCount() ? std::optional(statistics->null_count()) : std::nullopt;
}

// The leaves to read of a row group: all of the actions that we know but the parsed copies of partition values, and
// those of statistics only if some file has no other.
std::vector<int> WantedLeaves(const parquet::SchemaDescriptor& schema, const parquet::RowGroupMetaData& group) {
  constexpr std::array<std::string_view, 7> kActions = {"protocol", "metaData", "txn",   "domainMetadata",
                                                        "sidecar",  "add",      "remove"};
  std::vector<int> wanted;
  std::vector<int> parsed;
  std::optional<std::int64_t> without_path;
  std::optional<std::int64_t> without_stats;
  bool has_stats = false;
  for (int i = 0; i < schema.num_columns(); ++i) {
    const std::string path = schema.Column(i)->path()->ToDotString();
    if (path.starts_with("add.partitionValues_parsed.")) continue;
    if (path.starts_with(kStatsParsed)) {
      parsed.push_back(i);
      continue;
    }
    if (path == "add.path") without_path = NullCount(group, i);
    if (path == "add.stats") {
      has_stats = true;
      without_stats = NullCount(group, i);
    }
    const std::string_view top = std::string_view(path).substr(0, path.find('.'));
    if (std::find(kActions.begin(), kActions.end(), top) != kActions.end()) wanted.push_back(i);
  }
  const bool all_have_text = has_stats && without_stats && without_stats == without_path;
  if (!all_have_text) wanted.insert(wanted.end(), parsed.begin(), parsed.end());
  return wanted;
}

enum class Wanted { kAll, kSidecars };

// Rows that are decoded at once: enough to keep the cost of a batch small, few enough to stay in the caches.
constexpr std::int64_t kBatchRows = 4096;

// The same as a result: Parquet throws at a footer that contradicts itself.
Result<std::vector<int>> WantedLeaves(const parquet::FileMetaData& metadata, int group, Wanted wanted) {
  std::vector<int> leaves;
  try {
    leaves = WantedLeaves(*metadata.schema(), *metadata.RowGroup(group));
  } catch (const parquet::ParquetException& e) {
    return Internal("{}", e.what());
  }
  if (wanted == Wanted::kSidecars) {
    std::erase_if(leaves, [&](int leaf) {
      return !metadata.schema()->Column(leaf)->path()->ToDotString().starts_with("sidecar.");
    });
  }
  return leaves;
}

Status ReadParquet(objectstore::ObjectStore& store, const std::string& key, const TakeAction& take,
                   Wanted wanted = Wanted::kAll) {
  ASSIGN_OR_RETURN(const auto file, store.Open(key));
  // What Parquet itself cannot read has no kind of ours: the file is broken. A read that the store failed is not:
  // whoever hears "corrupt" may delete the file.
  const auto broken = [&](const Status& status) {
    if (KindOf(status) != ErrorKind::kInternal) return WithContext(status, "checkpoint {}", key);
    return Corrupt("checkpoint {} cannot be read: {}", key, status.message());
  };
  auto opened = parquet::arrow::OpenFile(file, arrow::default_memory_pool());
  if (!opened.ok()) return broken(opened.status());
  const auto& reader = *opened;
  reader->set_use_threads(true);
  reader->set_batch_size(kBatchRows);
  const auto metadata = reader->parquet_reader()->metadata();
  for (int group = 0; group < reader->num_row_groups(); ++group) {
    const auto leaves = WantedLeaves(*metadata, group, wanted);
    if (!leaves.ok()) return broken(leaves.status());
    if (leaves->empty()) continue;
    auto batches = reader->GetRecordBatchReader({group}, *leaves);
    if (!batches.ok()) return broken(batches.status());
    const auto decode = [&] { return (*batches)->Next(); };
    auto batch = decode();
    for (std::int64_t rows_left = metadata->RowGroup(group)->num_rows();;) {
      if (!batch.ok()) return broken(batch.status());
      if (*batch == nullptr) break;
      // The next rows are decoded while these become actions: either is half of the work.
      rows_left -= (*batch)->num_rows();
      auto next = std::async(rows_left > 0 ? std::launch::async : std::launch::deferred, decode);
      // Failures of `take` pass unchanged.
      Status taken;
      const Status status = ReadBatch(**batch, [&](Action&& action) {
        taken = take(std::move(action));
        return taken;
      });
      if (!taken.ok()) return taken;
      if (!status.ok()) return WithContext(status, "checkpoint {}", key);
      batch = next.get();
    }
  }
  return Status::OK();
}

Result<std::string> SidecarKey(const Sidecar& sidecar, const std::string& checkpoint,
                               const objectstore::ObjectStore& store) {
  if (IsAbsolutePath(sidecar.path)) return DecodePath(sidecar.path, store);
  ASSIGN_OR_RETURN(auto name, DecodeRelativePath(sidecar.path));
  if (name.find('/') != std::string::npos) {
    return Corrupt("checkpoint {}: the sidecar '{}' is not a file name", checkpoint, sidecar.path);
  }
  return std::string(kLogPrefix) + "_sidecars/" + name;
}

}  // namespace

namespace {

// Everything but sidecars goes to `take`; what they name is returned.
Status ReadTop(objectstore::ObjectStore& store, const std::string& key, const TakeAction& take, Wanted wanted,
               std::vector<std::string>& sidecar_keys) {
  const TakeAction keep_sidecars = [&](Action&& action) -> Status {
    if (const auto* sidecar = std::get_if<Sidecar>(&action)) {
      ASSIGN_OR_RETURN(auto sidecar_key, SidecarKey(*sidecar, key, store));
      sidecar_keys.push_back(std::move(sidecar_key));
      return Status::OK();
    }
    return take(std::move(action));
  };
  if (!key.ends_with(".json")) return ReadParquet(store, key, keep_sidecars, wanted);
  ASSIGN_OR_RETURN(const auto bytes, store.Read(key));
  ASSIGN_OR_RETURN(auto actions, ParseCommit(std::string_view(*bytes), key));
  for (auto& action : actions) RETURN_NOT_OK(keep_sidecars(std::move(action)));
  return Status::OK();
}

// Files of actions, a few at once. `read` hands the actions of one to its `take`.
using ReadPart = std::function<Status(const std::string& key, const TakeAction& take)>;
Status ReadParts(objectstore::ObjectStore& store, const std::vector<std::string>& keys, const ReadPart& read,
                 const TakeAction& take) {
  // One file's actions need not be kept for their turn.
  if (keys.size() == 1) return read(keys.front(), take);
  using Actions = std::vector<Action>;
  return ReadInOrder<Actions>(
      keys.size(), std::min(kPartsAtOnce, store.requests_at_once()),
      [&](std::size_t i, const Emit<Actions>& emit) -> Status {
        Actions actions;
        const auto hand_on = [&] {
          const std::int64_t memory = MemoryOf(actions);
          return emit(std::exchange(actions, {}), memory);
        };
        RETURN_NOT_OK(read(keys[i], [&](Action&& action) {
          actions.push_back(std::move(action));
          return actions.size() < kActionsAtOnce ? Status::OK() : hand_on();
        }));
        return hand_on();
      },
      [&](Actions actions) {
        for (auto& action : actions) RETURN_NOT_OK(take(std::move(action)));
        return Status::OK();
      });
}

Status ReadWithSidecars(objectstore::ObjectStore& store, const std::string& key, const TakeAction& take) {
  std::vector<std::string> sidecars;
  RETURN_NOT_OK(ReadTop(store, key, take, Wanted::kAll, sidecars));
  return ReadParts(
      store, sidecars,
      [&](const std::string& sidecar, const TakeAction& take_of_part) {
        // A sidecar holds files alone; one that names others would be a loop.
        return ReadParquet(store, sidecar, [&](Action&& action) {
          if (std::holds_alternative<Sidecar>(action)) {
            return Corrupt("checkpoint {}: its sidecar {} names a sidecar", key, sidecar);
          }
          return take_of_part(std::move(action));
        });
      },
      take);
}

}  // namespace

Result<std::vector<std::string>> SidecarKeysOf(objectstore::ObjectStore& store, const std::string& key) {
  std::vector<std::string> keys;
  RETURN_NOT_OK(ReadTop(
      store, key, [](Action&&) { return Status::OK(); }, Wanted::kSidecars, keys));
  return keys;
}

Status ReadCheckpointFiles(objectstore::ObjectStore& store, const std::vector<std::string>& keys,
                           const TakeAction& take) {
  return ReadParts(
      store, keys,
      [&](const std::string& key, const TakeAction& take_of_part) {
        return ReadWithSidecars(store, key, take_of_part);
      },
      take);
}

}  // namespace millrace::delta
