/// What pipeline.yaml is made of, as guessed from a sample, and what each guess was unsure of.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "infer/names.h"
#include "infer/payload_format.h"
#include "infer/sample.h"
#include "ingest/decode_spec.h"

namespace millrace::infer {

/// How the values of a column differ, in the sample.
struct ColumnFacts {
  std::int64_t present = 0;  ///< Records that have one that is not null.
  std::size_t distinct = 0;  ///< At most kDistinctMax are counted.
  std::int64_t repeats = 0;  ///< Records whose value another had before.
};

struct DraftColumn {
  std::string name;
  std::string type;                    ///< As pipeline.yaml spells it; empty: none takes it, so it is left out.
  std::string format = {};             ///< Of timestamps; empty: as the type says.
  std::vector<std::string> path = {};  ///< Keys from the document's root; empty with `from`.
  std::string from = {};               ///< "key", "header.trace-id".
  bool left_out = false;               ///< Is there as a comment alone.
  std::vector<std::string> notes = {};
  ColumnFacts facts = {};
  NameHints hints = {};  ///< Of its last name.
};

struct DraftAggregate {
  std::vector<std::string> keys;                              ///< Columns.
  std::vector<std::pair<std::string, std::string>> measures;  ///< SQL and name, after count(*).
};

/// What becomes of the sample when it is decoded as the draft says; see rehearsal.h.
struct Rehearsal {
  std::int64_t rows = 0;
  std::map<std::string, std::int64_t> dead_letters;  ///< By reason.
  std::int64_t ahead = 0;                            ///< Rows more than five minutes ahead of their record.
  /// How much later than a newer event of its partition an event came: all but a hundredth of them by no more than
  /// this.
  std::optional<std::chrono::microseconds> lateness;
};

/// A schema registry, and which of its schemas it is.
struct DraftRegistry {
  std::string url;
  std::string subject;
  bool has_login = false;  ///< It wants one, which stands in the environment (kRegistryUser, kRegistryPassword).
};
inline constexpr const char* kRegistryUser = "SCHEMA_REGISTRY_USERNAME";
inline constexpr const char* kRegistryPassword = "SCHEMA_REGISTRY_PASSWORD";

struct DraftSource {
  std::string topic;
  /// librdkafka's properties of a Kafka topic, secrets among them: these are not printed. One without a value is a
  /// variable in the file. Empty: an embedded log.
  std::map<std::string, std::string> kafka = {};
  std::string embedded_path = "./log";
  std::optional<DraftRegistry> registry = {};
  std::string sampled;  ///< "the topic clicks of localhost:9092", for the head of the file.
};

struct Draft {
  DraftSource source;
  std::string name;  ///< Of the pipeline and its table.
  std::int64_t records = 0;
  std::int64_t tombstones = 0;
  std::int64_t documents = 0;  ///< That are of the format: the columns' facts are of these.

  std::string format;
  ingest::Framing framing = ingest::Framing::kNone;
  std::string framing_note = {};
  ingest::Records parts = ingest::Records::kOne;  ///< What a record holds.
  std::string parts_note = {};
  ingest::Compression compression = ingest::Compression::kNone;
  std::string compression_note = {};
  std::optional<ingest::SchemaSpec> schema = {};  ///< That records are read with; of JSON none.
  std::optional<CsvShape> csv = {};
  std::string null_text = {};  ///< Of CSV.
  std::vector<std::string> format_notes = {};
  std::vector<DraftColumn> columns = {};
  bool rescue = false;  ///< unknown_fields: rescue.
  std::string unknown_fields_note = {};

  std::string event_time;  ///< A column, or "_timestamp".
  std::string event_time_note = {};
  std::vector<std::string> dedupe_by = {};  ///< Suggested, as a comment.
  std::string dedupe_note = {};
  DraftAggregate aggregate = {};
  std::optional<Rehearsal> rehearsal = {};
};

struct DraftOptions {
  DraftSource source;
  /// The events' schema, and its format: "avro", "protobuf" or "json".
  std::optional<ingest::SchemaSpec> schema = {};
  std::string schema_format = {};
  /// Of source.registry, by the ids before payloads; null: there is none.
  std::shared_ptr<ingest::WriterSchemas> writer_schemas = nullptr;
};

/// All but the rehearsal. A schema is enough without a sample. kInvalidInput: neither; payloads that no format reads,
/// or not without a schema, with what they look like and the way out; a schema that no payload is of. kTransient: the
/// registry does not answer.
Result<Draft> MakeDraft(const Sample& sample, const DraftOptions& options);

}  // namespace millrace::infer
