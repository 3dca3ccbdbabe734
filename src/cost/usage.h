/// The load that is to be priced: what comes in, what is kept, what is asked. Every value that nobody gave is a default
/// and is labelled "assumed" in reports.
///
/// One table, UsageFields(), describes every field; files, flags, the API and the documentation are read against it.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace millrace::cost {

/// Who keeps the events before they are in the lake.
enum class BrokerMode {
  kEmbedded,  ///< Millrace's own log, on the workers' disks.
  kSelf,      ///< Brokers on machines of their own.
  kManaged,   ///< The provider's Kafka service.
  kNone,      ///< Somebody else's: not in this bill.
};

/// Which of a provider's services, where it has several. Where it has no such one: the standard one.
enum class LogService {
  kStandard,    ///< MSK on m5.large, Managed Kafka, Event Hubs Standard (Dedicated above what a namespace takes).
  kExpress,     ///< MSK Express.
  kServerless,  ///< MSK Serverless.
  kPremium,     ///< Event Hubs Premium.
  kDedicated,   ///< Event Hubs Dedicated.
  kConfluent,   ///< Confluent Cloud Basic, in any cloud.
};

/// A table of the lake, where more is known than the counts in `Usage`. What is not known is as for all of its kind.
struct TableUsage {
  std::string name;
  bool aggregate = false;
  std::optional<double> commit_seconds = std::nullopt;
  std::optional<double> ratio = std::nullopt;             ///< Stored bytes per byte of event payload.
  std::optional<double> files_per_commit = std::nullopt;  ///< Data files.
  std::optional<double> checkpoint_interval = std::nullopt;
  std::optional<double> retention_days = std::nullopt;
};

/// Rates are averages over a month. GB are decimal (10^9 bytes) unless a SKU says GiB.
struct Usage {
  double events_per_second = 10'000;
  double bytes_per_event = 500;   ///< Payload, before compression.
  double peak_factor = 3;         ///< Highest rate that must be carried, over the average.
  double wire_compression = 0.5;  ///< Bytes in the log and on the wire, per byte of payload.

  std::string machine = "general";  ///< Of MachineWords(): an architect chooses, the model counts.
  double nodes_min = 2;
  double events_per_vcpu = 200'000;  ///< Events per second that one vCPU takes from the log into the lake.
  double queries_per_vcpu = 500;

  BrokerMode broker_mode = BrokerMode::kSelf;
  LogService log_service = LogService::kStandard;  ///< If managed.
  double replication = 3;
  double zones = 3;
  double broker_retention_hours = 24;
  double fan_out = 1;            ///< How many consumers read the log.
  bool follower_fetch = false;   ///< Consumers read from a replica in their own zone.
  double broker_headroom = 1.3;  ///< Disk that is bought, per byte that is used.
  double broker_nodes_min = 3;
  double partitions = 12;  ///< Of the log; a service that charges for them counts more if the rate needs more.

  double retention_days = 30;
  double parquet_ratio = 0.12;  ///< Stored bytes per byte of event payload, for a table of events.
  double aggregate_ratio = 0;   ///< The same for a table of aggregates.
  double commit_seconds = 60;
  double tables = 1;
  double aggregates = 1;
  double files_per_commit = 1;
  double checkpoint_interval = 100;  ///< Commits between two checkpoints.
  double checks_per_commit = 1;      ///< HEAD requests by which a writer makes sure of its version.
  double reads_per_second = 1;  ///< GET and HEAD requests of query nodes that look for new versions and read files.
  double lists_per_second = 0;
  bool optimize = false;  ///< Small files are rewritten into large ones; the old ones stay until vacuum.
  double vacuum_days = 7;
  std::vector<TableUsage> tables_detail;  ///< If not empty: these tables instead of the counts.

  double queries_per_second = 100;
  double bytes_per_response = 5'000;
  bool load_balancer = true;
  double load_balancer_share = 1;  ///< Of a load balancer's hours, where other services use it too.
  double requests_per_connection = 100;
  bool cdn = false;
  double cdn_hit = 0.8;  ///< Share of responses that the CDN answers itself.

  bool kubernetes = true;
  double nat_gateways = 0;
  double nat_gb = 0;          ///< GB a month through them.
  bool sql_database = false;  ///< A managed Postgres beside the lake.
  double sql_gb = 20;
  bool free_tier = true;  ///< Take what the provider gives away each month.

  /// Field name -> who says so: "given", "pipeline clicks", "measured over 612 s". A field that is not here is assumed.
  std::map<std::string, std::string, std::less<>> origins;

  bool assumed(std::string_view field) const { return !origins.contains(field); }
};

/// One line of the table of fields.
struct UsageField {
  std::string name;  ///< As in a file, dots between levels: "lake.retention".
  std::string unit;  ///< How a value is written: "number", "share", "duration", "bytes", "count", "yes/no", "one of".
  std::string about;
  std::vector<std::string> choices;  ///< Of "one of".
  /// Checks and sets; the error lacks the place.
  std::function<Status(Usage&, const std::string& text)> set;
  std::function<std::string(const Usage&)> get;
};
const std::vector<UsageField>& UsageFields();

/// `lake.retention` = "30d". kInvalidInput names the field, the range or the nearest known name.
Status SetUsageField(Usage& usage, const std::string& name, const std::string& text, const std::string& origin);

/// YAML (and so JSON) into `usage`, over what is there: nested or dotted keys, `tables` a number or a list. `origin`
/// labels the values unless the document has an `origin` of its own. All findings in one error, a line each:
/// "usage.yaml:3:5: unknown key 'lake.retenton'; did you mean 'lake.retention'?".
Status ReadUsage(const std::string& text, const std::string& file, const std::string& origin, Usage& usage);

/// Named loads: "starter", "reference". kInvalidInput: no such preset.
Result<Usage> UsagePreset(const std::string& name);
std::vector<std::string> UsagePresetNames();

/// Every field, as YAML that ReadUsage() takes, with "# assumed" where it is.
std::string UsageToYaml(const Usage& usage);

/// What is said of a load in one line: "10,000 events/s of 500 B, peak x3; ...".
std::string Describe(const Usage& usage);

}  // namespace millrace::cost
