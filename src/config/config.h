/// pipeline.yaml as a value. load.h reads one; the file's reference is docs/configuration.md.
#pragma once

#include <arrow/type_fwd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "http/certificates.h"
#include "ingest/decode_spec.h"
#include "lookup/lookup_spec.h"
#include "model/aggregate.h"
#include "model/topic_partition.h"
#include "registry/registry_spec.h"
#include "serve/access.h"
#include "serve/key_place.h"
#include "serve/rate_limiter.h"

namespace millrace::config {

struct KafkaSource {
  std::map<std::string, std::string> properties;  ///< librdkafka's own names, passed through unchanged.
};

struct EmbeddedSource {
  std::string path;
  int partitions = 4;
  std::chrono::microseconds retention = std::chrono::hours(24 * 7);
};

struct StartEarliest {};
struct StartLatest {};
struct StartTimestamp {
  UnixMicros time = 0;
};
struct StartOffsets {
  model::OffsetVector next;  ///< A partition that is not named starts at the earliest.
};
using StartPosition = std::variant<StartEarliest, StartLatest, StartTimestamp, StartOffsets>;

enum class OnRetentionGap { kStop, kRecord };

struct SourceConfig {
  std::variant<KafkaSource, EmbeddedSource> log;
  std::optional<registry::RegistrySpec> schema_registry = {};  ///< Of `decode.schema: registry`.
  StartPosition start = StartEarliest{};
  std::string start_key = "source.start.offsets";  ///< What messages call StartOffsets: where the user gave them.
  OnRetentionGap on_retention_gap = OnRetentionGap::kStop;  ///< `on_gap: stop | record`
};

enum class OnDecodeError { kDeadLetter, kFail };

struct EventTimeConfig {
  std::string column;  ///< A timestamp column of the events, or "_timestamp" (the log's own).
  std::chrono::microseconds watermark_delay = std::chrono::seconds(10);
  std::chrono::microseconds idle_timeout = std::chrono::seconds(30);
  std::chrono::microseconds max_future = std::chrono::minutes(5);
};

/// Where keys go that memory has no room for, if `dedupe.path` does not say.
inline constexpr const char* kDedupePathDefault = "./state";

struct DedupeConfig {
  std::vector<std::string> by;                                ///< Columns of the events; at least one.
  std::chrono::microseconds within = std::chrono::hours(24);  ///< Of event time; at least a second.
  std::optional<std::string> path = std::nullopt;             ///< A folder of a local disk.
};

/// A stream of events: topics whose records have one shape and one rule of event time.
struct InputConfig {
  std::string name = "input";       ///< Of its relation.
  std::vector<std::string> topics;  ///< Names, and from `^` on patterns of names, see topic_pattern.h; at least one.
  ingest::DecodeSpec decode;
  OnDecodeError on_decode_error = OnDecodeError::kDeadLetter;
  std::optional<EventTimeConfig> event_time;
  std::optional<DedupeConfig> dedupe;  ///< Needs event_time.
};

struct TransformConfig {
  std::string name;
  std::string sql;
};

struct CommitTrigger {
  std::chrono::microseconds interval = std::chrono::seconds(10);
  std::int64_t bytes = 256 << 20;
};

/// A column of the pipeline that the table in the lake does not have.
enum class OnNewColumn { kReject, kAdd };

struct TableConfig {
  std::string name;     ///< With `route`: the pattern of its tables' names, see route_pattern.h.
  std::string route;    ///< A column: one table for each of its values; empty: one table.
  int route_max = 100;  ///< `max`: so many tables.
  std::string from = "input";
  std::vector<std::string> partition_by;  ///< A column, or "date(column)", which adds the column `<column>_date`.
  CommitTrigger commit;
  std::map<std::string, std::string> properties;
  bool metadata = true;  ///< _topic, _partition, _offset, _timestamp as columns.
  OnNewColumn on_new_column = OnNewColumn::kReject;
  /// The schema of the table in the lake that the declared columns were made from: no row goes into a table that has
  /// another one by then. nullptr: the columns stand by themselves. In code only, and without a route.
  std::shared_ptr<const arrow::Schema> planned_schema = nullptr;
};

struct AggregateConfig {
  std::string name;
  std::string sql;
  CommitTrigger commit;
  std::map<std::string, std::string> properties;
  std::optional<std::chrono::microseconds> retention;  ///< Of event time; windows that ended before it go.
  std::string final_table;                             ///< `final: {table: NAME}`; empty: none.
  int group_values_max = model::kGroupValuesMax;       ///< See model::AggregateDefinition.
};

struct LakeConfig {
  std::string uri = "./lake";  ///< A folder, file:// or s3://bucket/prefix.
  // Only for s3://. What is empty comes from the environment and the AWS profile.
  std::string s3_endpoint;
  std::string s3_region;
  std::optional<bool> s3_path_style;
  std::string s3_ca_file;
};

struct LimitsConfig {
  std::int64_t memory = std::int64_t{1} << 30;  ///< Bytes.
  int threads = 0;                              ///< See num_threads().
  std::int64_t disk = std::int64_t{16} << 30;   ///< Bytes, of what is kept on the local disk beside the lake.

  /// Compute threads: `threads`, or one per core if that is 0.
  int num_threads() const {
    return threads > 0 ? threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }
};

struct ListenConfig {
  std::string address = "127.0.0.1";
  std::uint16_t port = 8080;
};

/// Tokens of an issuer.
struct JwtConfig {
  serve::KeyPlace keys;
  serve::JwtRules rules;
};

struct AuthConfig {
  std::vector<serve::AccessToken> tokens;  ///< `bearer`, which may read and ask, first.
  std::optional<JwtConfig> jwt;
};

/// Workers that one name stands for, as in a cluster.
struct WorkersByName {
  std::string dns;
  std::uint16_t port = 8080;
};

struct ServeConfig {
  ListenConfig listen;
  std::optional<ListenConfig> health;                                  ///< A door of its own for monitoring.
  std::optional<ListenConfig> postgres;                                ///< A door for PostgreSQL's clients.
  std::optional<http::TlsFiles> tls;                                   ///< Of `listen` and `postgres`.
  std::optional<AuthConfig> auth;                                      ///< Absent: everybody may do everything.
  std::vector<std::string> cors_origins;                               ///< As serve::GuardOptions has them.
  std::optional<serve::Rate> rate;                                     ///< Of each client.
  std::chrono::microseconds query_timeout = std::chrono::seconds(30);  ///< From a request to its answer.
  std::int64_t answer_rows_max = 1'000'000;
  int concurrent_queries = 32;       ///< At once; four times as many wait for their turn.
  int connections = 1024;            ///< For one more the longest without a request is closed.
  std::vector<std::string> workers;  ///< "http://worker-1:8080": whose hot rows answers have, beside our own.
  std::optional<WorkersByName> workers_by_name;  ///< Then `workers` is empty.
  /// By which the processes of a pipeline know each other; absent: those that listen on a loopback address answer.
  std::optional<std::string> internal_token;

  /// It listens on a loopback address, and has no `auth` to keep anybody out.
  bool is_for_this_machine_alone() const;
};

/// What devices may send to a topic over HTTP.
struct GatewayTopic {
  std::string name;
  std::string key;  ///< A field of the events, "device_id" or "device.id"; empty: no key.
  std::int64_t event_bytes_max = 1 << 20;
  std::optional<serve::Rate> rate;  ///< Events of each client.
  std::int64_t quota_events = 0;    ///< Of each client in a stretch of `quota_every`; 0: any number.
  std::chrono::microseconds quota_every = std::chrono::hours(24);
  bool check = false;      ///< Events must be as the decoder of the input wants them that reads the topic.
  bool anonymous = false;  ///< No token is wanted.
};

/// What becomes of messages of MQTT whose topic matches.
struct MqttRouteConfig {
  std::string filter;  ///< "$share/millrace/site/+/dev/+"
  std::string topic;   ///< Of the log.
  std::string key;     ///< "{2}": what the second wildcard matched; empty: no key.
  std::int64_t event_bytes_max = 1 << 20;
  // Of `accept` alone:
  std::optional<serve::Rate> rate;  ///< Messages of each client.
  std::int64_t quota_events = 0;    ///< Of each client in a stretch of `quota_every`; 0: any number.
  std::chrono::microseconds quota_every = std::chrono::hours(24);
  bool anonymous = false;  ///< No token is wanted.
};

/// A broker whose client the gateway is.
struct MqttBrokerConfig {
  std::string host;
  std::uint16_t port = 1883;
  bool tls = false;
  std::string ca_file;           ///< Of authorities to trust; empty: the system's.
  std::string certificate_file;  ///< The gateway's own; empty: none.
  std::string key_file;
  bool is_3_1_1 = false;  ///< Else MQTT 5.
  std::string client_id;
  std::optional<std::string> username;
  std::optional<std::string> password;
  std::chrono::microseconds session = std::chrono::hours(24);  ///< How long the broker keeps what comes meanwhile.
  std::vector<MqttRouteConfig> subscribe;                      ///< At least one.
};

struct GatewayMqttConfig {
  std::optional<MqttBrokerConfig> broker;
  std::optional<ListenConfig> listen;   ///< A door of its own for devices that have no broker.
  std::vector<MqttRouteConfig> accept;  ///< Of `listen`: at least one.
};

struct GatewayConfig {
  std::vector<GatewayTopic> topics;           ///< Of HTTP. Empty: there is only `mqtt`.
  std::map<std::string, std::string> otlp;    ///< logs, metrics, traces: each with its topic, one of these.
  std::map<std::string, std::string> influx;  ///< Buckets: likewise.
  std::optional<GatewayMqttConfig> mqtt;
  std::int64_t body_bytes_max = 8 << 20;     ///< As sent, and unpacked.
  std::string state = "./gateway-state";     ///< A folder of a local disk, of one process.
  std::map<std::string, std::string> kafka;  ///< Beside source.kafka, for the producer.
};

/// Upkeep of the tables by the worker that reads the first partition.
struct MaintenanceConfig {
  bool enabled = true;
  std::chrono::microseconds interval = std::chrono::minutes(5);  ///< From one round over all tables to the next.
  bool compaction = true;
  int compaction_min_files = 16;
  std::int64_t compaction_target = 128 << 20;  ///< Bytes.
  bool folding = true;
  int folding_min_files = 8;
  bool vacuum = true;
  std::chrono::microseconds vacuum_interval = std::chrono::hours(24);
  std::optional<std::chrono::microseconds> vacuum_retention;  ///< Absent: the table's property, or a week.
  bool log_cleanup = true;
  std::chrono::microseconds log_cleanup_interval = std::chrono::hours(24);
};

struct LogConfig {
  std::string level = "info";
  std::string format = "text";  ///< text | json
};

/// How a table that has no offsets yet names them; see progress.h.
enum class TxnIdForm {
  kWithTopic,  ///< `<app_id>-<topic>-<partition>`
  kShort,      ///< `<app_id>-<partition>`, kafka-delta-ingest's, for a pipeline of one topic.
};

/// What a dead-letter table has beside our own columns: see pipeline/letter_rows.h.
struct LetterColumns {
  std::vector<ingest::ColumnSpec> columns;      ///< Of the letter as a document.
  std::vector<ingest::ComputedField> computed;  ///< In it, before columns are read from it.
  std::vector<std::string> partition_by;        ///< Of our columns and of these.
};

struct PipelineConfig {
  std::string name;                           ///< `pipeline:`, also the app_id unless that is given.
  std::string app_id;                         ///< Prefix of the Delta transaction ids.
  TxnIdForm txn_ids = TxnIdForm::kWithTopic;  ///< kShort only for `ingest`.
  SourceConfig source;
  /// At least one; the only one of a file without `inputs:` is called `input`.
  std::vector<InputConfig> inputs = std::vector<InputConfig>(1);
  std::vector<lookup::LookupSpec> lookups;
  std::vector<TransformConfig> transforms;
  std::vector<TableConfig> tables;
  std::vector<AggregateConfig> aggregates;
  LakeConfig lake;
  std::optional<std::string> dead_letters_uri;  ///< Only for `ingest`: the dead-letter table's own place.
  LetterColumns letter_columns;                 ///< Only for `ingest`.
  LimitsConfig limits;
  std::optional<ServeConfig> serve;
  std::optional<GatewayConfig> gateway;  ///< Then there is `serve` too, where devices come in.
  std::chrono::microseconds shutdown_timeout = std::chrono::seconds(25);
  MaintenanceConfig maintenance;
  LogConfig log;

  /// Some input is deduplicated.
  bool dedupes() const;
  /// `dedupe.path`, which is the same wherever it is given; nullopt: it is nowhere.
  std::optional<std::string> dedupe_path() const;
};

/// Of `gateway`: those that no input of this file reads. What comes in there stays in the log, for other pipelines; it
/// may be a mistake too.
std::vector<std::string> TopicsThatNobodyReads(const PipelineConfig& config);

}  // namespace millrace::config
