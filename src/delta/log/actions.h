/// The actions of the Delta log as values. Spec: Delta PROTOCOL.md, "Actions". Names of members are the spec's, in our
/// spelling (`partitionValues` is partition_values); what each means is there, and here only what it leaves open.
/// Members that we do not know are dropped when an action is read.
#pragma once

#include <arrow/type.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace millrace::delta {

/// A table's version; commits are numbered from 0 without a gap.
using TableVersion = std::int64_t;

/// What a reader and a writer must know to touch the table. Features are listed from reader version 3 and writer
/// version 7 on; nullopt below.
struct Protocol {
  std::int32_t min_reader_version = 1;
  std::int32_t min_writer_version = 2;
  std::optional<std::vector<std::string>> reader_features{};
  std::optional<std::vector<std::string>> writer_features{};
};

/// What the table is: schema, partitioning, properties.
struct Metadata {
  std::string id;  ///< A UUID, for the table's whole life.
  std::optional<std::string> name{};
  std::optional<std::string> description{};
  std::string schema_string;  ///< Delta's schema JSON, as stored.
  std::vector<std::string> partition_columns{};
  std::map<std::string, std::string> configuration{};  ///< The table's properties: "delta.appendOnly" -> "true".
  std::optional<std::int64_t> created_time_ms{};

  bool operator==(const Metadata&) const = default;
};

/// Partition column -> value as the log spells it; nullopt is null.
using PartitionValues = std::map<std::string, std::optional<std::string>>;

/// Which rows of a file are gone. Scans apply it; see Snapshot::num_deletion_vectors.
struct DeletionVectorDescriptor {
  std::string storage_type;  ///< "u": file below the table, "i": inline, "p": absolute path.
  std::string path_or_inline_dv;
  std::optional<std::int32_t> offset{};
  std::int32_t size_in_bytes = 0;
  std::int64_t cardinality = 0;
};

/// A live file. DataFileWriter::Finish() makes one for rows that we wrote.
struct AddFile {
  std::string path;  ///< As logged: relative to the table's root and URL-encoded, or absolute.
  PartitionValues partition_values{};
  std::int64_t size = 0;  ///< Bytes, exact.
  std::int64_t modification_time_ms = 0;
  bool data_change = true;             ///< false: rows that the table had already, as compaction writes them.
  std::optional<std::string> stats{};  ///< JSON text, valid or absent; see NumRecords() and TimestampStats().
  std::optional<DeletionVectorDescriptor> deletion_vector{};
  std::map<std::string, std::string> tags{};
};

/// A file that is live no longer; RemoveOf() makes one for a live file. Vacuum() deletes the file after the retention.
struct RemoveFile {
  std::string path;
  std::optional<std::int64_t> deletion_timestamp_ms{};
  bool data_change = true;
  bool extended_file_metadata = false;
  PartitionValues partition_values{};
  std::optional<std::int64_t> size{};
  std::optional<DeletionVectorDescriptor> deletion_vector{};
};

/// Progress of an application, kept with the rows that it is about: "Transaction Identifiers". The newest version of
/// each app_id holds. What the number counts is the application's: an offset, a batch, a day.
struct Txn {
  std::string app_id;
  std::int64_t version = 0;
  std::optional<std::int64_t> last_updated_ms{};
};

struct CommitInfo {
  std::string json;                     ///< The whole object, as stored.
  std::optional<std::string> txn_id{};  ///< Unique id of the commit attempt: how a lost reply is resolved.
  std::optional<std::int64_t> in_commit_timestamp_ms{};
};

/// State of a table feature, by its name.
struct DomainMetadata {
  std::string domain;
  std::string configuration;
  bool removed = false;
};

/// Of v2 checkpoints alone: a Parquet file with more of the checkpoint's actions.
struct Sidecar {
  std::string path;  ///< A file name below _delta_log/_sidecars/.
};

using Action = std::variant<CommitInfo, Protocol, Metadata, Txn, AddFile, RemoveFile, DomainMetadata, Sidecar>;

/// A column's or member's "metadata" object travels as JSON text under this key of the Arrow field's metadata.
inline constexpr const char* kFieldMetadataKey = "delta:metadata";

/// Our Arrow schema as Delta's schema JSON and back. Dictionary-encoded columns count as their values. Types: utf8
/// string, binary, bool, int8/16/32/64, float, double, decimal128, date32, timestamp[us, UTC], timestamp[us]
/// (timestamp_ntz), list, struct, map. kUnsupported names the column and type; kInvalidInput names a column name that
/// Spark would refuse (one of " ,;{}()\n\t=") or that differs from another only in case.
arrow::Result<std::string> SchemaToJson(const arrow::Schema& schema);
arrow::Result<std::shared_ptr<arrow::Schema>> SchemaFromJson(const std::string& json);

}  // namespace millrace::delta
