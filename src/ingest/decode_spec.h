/// What a user declares of the events' shape: `decode:` and `event_time:` of pipeline.yaml, parsed and checked.
#pragma once

#include <arrow/type.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/value_form.h"

namespace millrace::ingest {

class DeclaredFields;
class FieldWatch;
class WriterSchemas;

/// Another schema that one refers to: an import of Protobuf by its path, a type of Avro by its full name.
struct SchemaReference {
  std::string name;
  std::string text;
};

/// What becomes of the keys that no declared column takes.
enum class UnknownFields {
  kIgnore,  ///< Left out.
  kReject,  ///< The record is a dead letter.
  kRescue,  ///< Kept in kRescuedColumn.
  kAdd      ///< As kRescue; tables then give them columns, see added_columns.h.
};

/// utf8, null if every key was taken; else a JSON object of the others, each as it was written.
inline constexpr std::string_view kRescuedColumn = "_rescued";

/// What a column can say of the record that a row came in.
enum class RecordPart { kKey, kHeader, kTopic, kPartition, kOffset, kTimestamp };

struct RecordPlace {
  RecordPart part = RecordPart::kKey;
  std::string header = {};  ///< Its name; kHeader only.
};

/// As `from` spells it: "key", "header.trace-id". Nullopt: it is none of them.
std::optional<RecordPlace> ParseRecordPlace(std::string_view text);
std::string FromText(const RecordPlace& place);

/// Lists, structs and maps within each other.
inline constexpr int kMaxNesting = 32;

/// One declared column. `type` is one of utf8, binary, boolean, int32, int64, float64, decimal128(p,s), date32,
/// timestamp[us, UTC], in code and of JSON also int8, int16 and float32, or of these and of each other, at most
/// kMaxNesting deep:
/// - list (element field named "element", nullable),
/// - struct (members nullable, no two of one name),
/// - map of utf8 to one of them (fields named "key" and "value", the latter nullable).
struct ColumnSpec {
  std::string name;
  std::shared_ptr<arrow::DataType> type;
  ValueForm form = {};  ///< Of the column or of the list's elements.
  /// Object keys from the document's root; {name} unless the user gave a path. Columns may have the same path, but not
  /// one through another's. Empty with `from`.
  std::vector<std::string> path;
  std::optional<RecordPlace> from = {};  ///< Not of the payload; see record_columns.h.
};

/// A member of a document that is computed from the document, see json/computed_fields.h.
struct ComputedField {
  std::vector<std::string> path;  ///< Object keys from the root.
  /// JMESPath, or what it is of the record that the document came in, by kafka-delta-ingest's names: kafka.topic, a
  /// text; kafka.partition, kafka.offset, kafka.timestamp (microseconds) and kTimestampType, numbers.
  std::string expression;
};

/// 1 if the record's timestamp is the log's own, 0 if it is the producer's.
inline constexpr std::string_view kTimestampType = "kafka.timestamp_type";

/// The schema that events were written with or are read as, of the formats that have one.
struct SchemaSpec {
  std::string file;     ///< Its path as the user wrote it, or subject and version in the registry; for messages.
  std::string message;  ///< The message of the file that events are; empty where a file is one schema.
  /// What is in the file. It is read once, with the configuration, so that all decoders of a pipeline mean the same by
  /// it. Null: nobody looked (LoadOptions::files), and no decoder can be made.
  std::shared_ptr<const std::string> bytes;
  /// A registry had it: `bytes` and these are as WriterSchema has them (writer_schemas.h).
  bool is_registered = false;
  std::vector<SchemaReference> references = {};
};

/// Larger files are refused.
inline constexpr std::size_t kMaxSchemaBytes = std::size_t{10} << 20;

/// How lines of CSV are written. As it stands here: RFC 4180.
struct CsvSpec {
  char delimiter = ',';
  std::optional<char> quote = '"';       ///< Around a field; nullopt: quotes are letters as any other.
  char escape = '"';                     ///< Before a quote within quotes, and before itself.
  std::vector<std::string> header = {};  ///< The names of the fields in their order; empty: those of the columns.
  std::string null_text = {};            ///< A field without quotes that says this is null.
  bool missing_is_null = false;          ///< What a line that ends early lacks is null; otherwise the line is refused.
};

/// What stands before each payload.
enum class Framing {
  kNone,
  kConfluent,    ///< A zero byte and the four bytes of the id that a registry knows the writer's schema by.
  kSingleObject  ///< Avro's: C3 01 and the fingerprint of the writer's schema.
};

/// As the configuration spells it.
std::string_view FramingName(Framing framing);

/// How many documents, which are a row each, a record holds.
enum class Records {
  kOne,
  kArray,     ///< A JSON array of them.
  kLines,     ///< One a line; an empty line is none.
  kContainer  ///< Avro's object container file, which has the schema that they were written with.
};

/// As the configuration spells it.
std::string_view RecordsName(Records records);

enum class Compression {
  kNone,
  kAuto  ///< Payloads that begin as gzip or zstd do are unpacked; others are as they are.
};

struct DecodeSpec {
  std::string format = "json";  ///< One of Formats(), see formats.h.
  std::vector<ColumnSpec> columns;
  std::optional<SchemaSpec> schema = {};  ///< Of formats that have one.
  Framing framing = Framing::kNone;       ///< One of the format's.
  /// Of the ids that `framing` puts before a payload, see writer_schemas.h. Null: every record was written with
  /// `schema`.
  std::shared_ptr<WriterSchemas> writer_schemas = nullptr;
  Records records = Records::kOne;  ///< One of the format's.
  Compression compression = Compression::kNone;
  CsvSpec csv = {};                          ///< Of format csv only.
  std::vector<ComputedField> computed = {};  ///< Before columns are read, of formats whose documents are JSON.
  bool through_json = false;                 ///< Of avro only: records become JSON first, see avro/json_documents.h.
  UnknownFields unknown_fields = UnknownFields::kIgnore;
  /// With kAdd: what writers' schemas say of fields that no column takes; null: it is not asked for.
  std::shared_ptr<DeclaredFields> declared = nullptr;
  std::shared_ptr<FieldWatch> watch = nullptr;  ///< Shared by all decoders of a pipeline; null: none.

  bool has_rescued_column() const {
    return unknown_fields == UnknownFields::kRescue || unknown_fields == UnknownFields::kAdd;
  }
  bool has_index_column() const { return records != Records::kOne; }
};

/// Without the columns that have a `from`: what is asked of a decoder.
DecodeSpec PayloadSpec(const DecodeSpec& spec);

/// For `watch`, of the columns of PayloadSpec().
std::shared_ptr<FieldWatch> MakeFieldWatch(const std::vector<ColumnSpec>& columns);

/// What a decoder of PayloadSpec() gives: the declared columns (nullable, in order), then kRescuedColumn if there is
/// one.
std::shared_ptr<arrow::Schema> DecodedSchema(const DecodeSpec& spec);

/// What events are: DecodedSchema(), ProvenanceFields() and, of records with several documents, IndexField(), see
/// provenance.h.
std::shared_ptr<arrow::Schema> EventSchema(const DecodeSpec& spec);

}  // namespace millrace::ingest
