/// What a configuration comes to: the relations that its SQL makes of the events, and the tables that they feed.
///
/// One code makes it and says what does not fit: the loader of pipeline.yaml (load.h) reports that with its place in
/// the file, and a pipeline runs what it made.
#pragma once

#include <arrow/type.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/config.h"
#include "config/route_pattern.h"
#include "config/topic_pattern.h"
#include "ingest/decode_spec.h"
#include "process/aggregate_plan.h"
#include "process/deduplicator.h"
#include "process/lookup_table.h"
#include "process/row_origin.h"

namespace millrace::config {

/// A stream of events: topics whose records are decoded by one schema and one rule of event time.
struct InputPlan {
  std::string name;                    ///< Of its relation.
  std::vector<std::string> topics;     ///< Those that are named.
  std::vector<TopicPattern> patterns;  ///< Of others.
  ingest::DecodeSpec decode;
  OnDecodeError on_decode_error = OnDecodeError::kDeadLetter;
  std::optional<EventTimeConfig> event_time;
  int event_time_column = -1;  ///< Of event_time, in the events; -1: none is configured.
  std::optional<process::DedupeRule> dedupe;
};

/// A named stream of batches: the events of an input, or a transform of another relation, its parent, which always has
/// a smaller index.
struct RelationPlan {
  std::string name;
  int input = 0;    ///< Whose records its rows are.
  int parent = -1;  ///< -1: the events themselves.
  std::string sql;
  std::shared_ptr<arrow::Schema> schema;
  process::RowOrigin origin;
  std::vector<int> lookups{};  ///< Of the dataflow, those that it joins to its parent.
};

/// kFinal is of no TablePlan: a final table hangs on its aggregate's, and takes no events itself.
enum class TableKind { kEvents, kAggregate, kDeadLetters, kFinal };

std::string_view ToString(TableKind kind);

/// The table with an aggregate's merged rows, see pipeline/final_table.h. `schema`: window_start, window_end, the keys,
/// the measures, revision, final_at.
struct FinalPlan {
  std::string name;
  std::shared_ptr<arrow::Schema> schema;
};

/// Tables by the value of a column: see pipeline/route_family.h.
struct RoutePlan {
  RoutePattern pattern;
  int column = 0;  ///< Of the relation: text, whole numbers or booleans.
  int max = 100;   ///< Tables at most.
  /// What a row's table depends on, told by the events alone: the column, and what all rows have passed.
  std::string origin;
  std::set<std::string> taken{};  ///< Names of the pipeline's other tables, in lower case: none of ours is called so.
};

struct TablePlan {
  /// With a route it stands for all tables of the family, and is the pattern of their names.
  std::string name;
  TableKind kind = TableKind::kEvents;
  int relation = 0;                       ///< Events and aggregates: what feeds it.
  std::shared_ptr<arrow::Schema> schema;  ///< As rows reach the table's sink: partition columns included.
  std::vector<std::string> partition_columns;
  std::vector<std::string> derived_dates;  ///< For date(x) in partition_by: the x of each, in schema order.
  std::vector<int> columns;                ///< Events: the relation's columns that the table keeps, in order.
  int rescued_column = -1;    ///< Events: ingest::kRescuedColumn in `schema`; -1: the table does not keep it.
  bool adds_columns = false;  ///< Events: decode.unknown_fields is `add`, and there is a rescued_column.
  std::shared_ptr<const ingest::DeclaredFields> declared{};  ///< If adds_columns: see DecodeSpec; null: none.
  std::vector<std::string> object_keys{};  ///< If adds_columns: keys of objects that declared columns read from.
  std::optional<process::AggregatePlan> aggregate;  ///< Aggregates only.
  process::RowOrigin origin{};  ///< Aggregates only: of aggregate->inputs, and of the rows that it takes.
  CommitTrigger commit;
  std::map<std::string, std::string> properties;
  OnNewColumn on_new_column = OnNewColumn::kReject;       ///< Of events and of dead letters.
  std::shared_ptr<const arrow::Schema> planned_schema{};  ///< Events only: as TableConfig's; nullptr: none.
  std::optional<std::chrono::microseconds> retention;     ///< Aggregates only.
  std::optional<FinalPlan> final_table{};                 ///< Aggregates only.
  std::optional<RoutePlan> route{};                       ///< Events only.
};

struct Dataflow {
  std::vector<InputPlan> inputs;              ///< No topic is named by two of them.
  std::vector<RelationPlan> relations;        ///< The events of each input first, in their order.
  std::vector<TablePlan> tables;              ///< The dead-letter table is the last.
  std::vector<process::LookupShape> lookups;  ///< As PipelineConfig::lookups.

  /// The input that reads this topic: the one that names it, or else the first with a pattern of it; nullopt: none.
  std::optional<int> FindInput(const std::string& topic) const;
  /// Of a topic that an input does read.
  int InputOf(const std::string& topic) const;
  /// By which its input reads this topic; none if it is named, or not read.
  std::vector<std::string> PatternsOf(const std::string& topic) const;
  /// Those that are named, of all inputs.
  std::vector<std::string> topics() const;
  /// Inputs have patterns: which topics are read hangs on which there are.
  bool has_patterns() const;
  /// What is read of a log that has the topics `there`: those that are named, then others that a pattern takes, by
  /// name. kInvalidInput: patterns of two inputs take the same; names both.
  Result<std::vector<std::string>> TopicsAmong(std::vector<std::string> there) const;
  /// Whose records become rows of this table, which is not the dead letters'.
  int InputOfTable(int table) const { return relations[tables[table].relation].input; }
  /// The tables that an input feeds, ascending.
  std::vector<int> TablesOf(int input) const;

  int num_tables() const { return static_cast<int>(tables.size()); }
  int num_data_tables() const { return num_tables() - 1; }  ///< Events and aggregates: all before the dead letters.
  int dead_letters() const { return num_tables() - 1; }     ///< The index of their table.
  /// The lookups that this table's rows have been joined with, ascending.
  std::vector<int> LookupsOf(int table) const;
  /// The stages whose dead letters can concern this table: of decoding, of each transform on its way, of itself.
  std::vector<std::string> StagesOf(int table) const;
  /// Whether this table's commits say how far event time had come: those of aggregates, whose windows it completes, and
  /// of events whose input has no aggregate.
  bool KeepsWatermark(int table) const;
};

/// Of a configuration that was made in code; LoadedConfig has that of a file. Blocks while DuckDB plans the SQL, tens
/// of milliseconds, and while lookups are opened for their columns. kInvalidInput: all that does not fit, in the words
/// that the loader has for it; kTransient: a lookup cannot be reached.
Result<Dataflow> PlanDataflow(const PipelineConfig& config);

}  // namespace millrace::config
