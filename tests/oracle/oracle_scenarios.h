/// Random pipelines and questions, each in its own words and in the reference's: SQL over the raw events, written by
/// hand here, that shares no code with process/ and query/.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"
#include "model/topic_partition.h"
#include "query/aggregate_query.h"

namespace millrace::oracle {

inline constexpr std::int64_t kSecond = 1'000'000;

/// What `clean` keeps of the events. A row whose cast fails is a dead letter, unless the WHERE removes it first.
inline constexpr const char* kClean =
    "SELECT id, k1, k2, amount, x, q, ts, CAST(txt AS INTEGER) AS num FROM input WHERE q IS NULL OR q >= 0";
inline constexpr const char* kCleanReference =
    "SELECT id, k1, k2, amount, x, q, ts, TRY_CAST(txt AS INTEGER) AS num, _partition, _offset FROM events "
    "WHERE (q IS NULL OR q >= 0) AND (txt IS NULL OR TRY_CAST(txt AS INTEGER) IS NOT NULL)";

struct Measure {
  std::string name;
  std::string sql;
  bool approximate = false;  ///< A sum of doubles: its order, and so its last bits, are not promised.
  std::string reference{};   ///< What DuckDB is to compute; empty: `sql`.
};

struct Aggregate {
  std::string name;
  std::string relation;
  std::string window;
  std::int64_t window_us;
  std::vector<std::string> keys;
  std::vector<Measure> measures;
  std::string where = "true";
  std::string select_extra;  ///< window_end or nothing.
  std::string function = "TUMBLE";
  std::int64_t pane_us = window_us;  ///< HOP's slide, CUMULATE's step.
  std::int64_t origin_us = 0;        ///< That steps are aligned to.

  bool has_windows() const { return window_us > 0; }
  bool overlap() const { return pane_us != window_us; }
  bool sessions() const { return function == "SESSION"; }

  std::string Sql() const {
    std::vector<std::string> columns;
    if (has_windows()) columns.push_back("window_start" + select_extra);
    columns.insert(columns.end(), keys.begin(), keys.end());
    for (const auto& measure : measures) columns.push_back(measure.sql + " AS " + measure.name);
    std::string sql = fmt::format("SELECT {} FROM ", fmt::join(columns, ", "));
    sql += has_windows() ? fmt::format("{}({}, ts, {})", function, relation, window) : relation;
    if (where != "true") sql += " WHERE " + where;
    return sql + " GROUP BY ALL";
  }
};

inline constexpr const char* kFamily = "kind_{k1}";
/// Of k1, those that make a table's name; the others are dead letters of the family.
inline constexpr const char* kRouted = "coalesce(regexp_full_match(k1, '[A-Za-z0-9_-]+'), false)";

struct Scenario {
  config::PipelineConfig config;
  std::vector<Aggregate> aggregates;
  bool has_raw = false;
  bool has_clean = false;
  bool has_routes = false;
};

Scenario RandomScenario(std::mt19937& random);

struct Question {
  query::AggregateRequest request;
  std::vector<std::string> keys;        ///< That the answer is grouped by.
  std::optional<std::int64_t> step_us;  ///< nullopt: no windows in the answer.
  bool own_windows = true;              ///< Those of the aggregate, which may overlap.
  std::string where = "true";
};

Question WholeQuestion(const Aggregate& aggregate);
Question RandomQuestion(const Aggregate& aggregate, std::mt19937& random);

/// Two topics of different partition counts. In the reference a partition is its number over both.
inline const std::vector<std::pair<std::string, int>> kTopics = {{"events", 3}, {"more", 2}};
inline constexpr int kNumPartitions = 5;

std::int32_t NumberOf(const model::TopicPartition& source);
inline constexpr const char* kNumberSql = "CAST(_partition + CASE _topic WHEN 'more' THEN 3 ELSE 0 END AS INTEGER)";

/// Of the relation "events", whose _partition is NumberOf() a partition, those below `offsets`.
std::string ReferenceSql(const Aggregate& aggregate, const Question& question, const model::OffsetVector& offsets);

}  // namespace millrace::oracle
