#include "oracle_scenarios.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "oracle_events.h"

namespace millrace::oracle {
namespace {

using namespace std::chrono_literals;

std::vector<Aggregate> AllAggregates() {
  return {
      {"by_two_keys",
       "clean",
       "INTERVAL 1 MINUTE",
       60 * kSecond,
       {"k1", "k2"},
       {{"n", "count(*)"},
        {"n_x", "count(x)"},
        {"s_amount", "sum(amount)"},
        {"s_q", "sum(q)"},
        {"s_num", "sum(num)"},
        {"s_x", "sum(x)", true},
        {"lo_amount", "min(amount)"},
        {"hi_amount", "max(amount)"},
        {"lo_q", "min(q)"},
        {"hi_q", "max(q)"},
        {"lo_x", "min(x)"},
        {"hi_x", "max(x)"},
        {"a_amount", "avg(amount)"},
        {"a_q", "avg(q)"},
        {"a_num", "avg(num)"},
        {"a_x", "avg(x)", true}},
       "true",
       ", window_end"},
      {"filtered",
       "input",
       "INTERVAL '10 seconds'",
       10 * kSecond,
       {"k1"},
       {{"n_flag", "count(*) FILTER (WHERE flag)"},
        {"s_twice", "sum(amount * 2)"},
        {"lo_k1", "min(k1)"},
        {"last", "max(ts)"},
        {"s_short", "sum(k2) FILTER (WHERE length(k1) < 2)"}},
       "k2 IS DISTINCT FROM 3"},
      {"no_keys",
       "clean",
       "INTERVAL 1 HOUR",
       3600 * kSecond,
       {},
       {{"n", "count(*)"}, {"s_q", "sum(q)"}, {"a", "avg(amount)"}}},
      {"kept",
       "clean",
       "INTERVAL 1 MINUTE",
       60 * kSecond,
       {"k1"},
       {{"d_k2", "count(DISTINCT k2)"},
        {"sd_q", "sum(DISTINCT q)"},
        {"h_k2", "histogram(k2)"},
        {"first_amount", "first(amount)", false, "first(amount ORDER BY ts, _partition, _offset)"},
        {"last_num", "last(num)", false, "last(num ORDER BY ts, _partition, _offset)"},
        {"some_x", "any_value(x)", false, "any_value(x ORDER BY ts, _partition, _offset)"},
        {"id_of_most", "arg_max(id, k2)", false, "arg_max(id, k2 ORDER BY ts, _partition, _offset)"},
        {"ids", "list(id)", false, "list(id ORDER BY ts, _partition, _offset)"},
        {"nums", "string_agg(num, '+')", false, "string_agg(num, '+' ORDER BY ts, _partition, _offset)"},
        {"v_x", "var_pop(x)", true},
        {"none_odd", "bool_and(q % 2 = 0)"}}},
      {"hops",
       "clean",
       "INTERVAL 10 SECOND, INTERVAL 1 MINUTE",
       60 * kSecond,
       {"k1", "k2"},
       {{"n", "count(*)"}, {"s_q", "sum(q)"}, {"hi_amount", "max(amount)"}, {"a_q", "avg(q)"}},
       "true",
       ", window_end",
       "HOP",
       10 * kSecond},
      {"so_far",
       "clean",
       "INTERVAL 1 MINUTE, INTERVAL 5 MINUTE",
       300 * kSecond,
       {"k1"},
       {{"n", "count(*)"}, {"s_amount", "sum(amount)"}},
       "true",
       ", window_end",
       "CUMULATE",
       60 * kSecond},
      {"visits",
       "clean",
       "INTERVAL 3 SECOND",
       3 * kSecond,
       {"k1", "k2"},
       {{"n", "count(*)"}, {"s_amount", "sum(amount)"}, {"hi_q", "max(q)"}},
       "true",
       ", window_end",
       "SESSION"},
      {.name = "days",
       .relation = "clean",
       .window = "INTERVAL 1 DAY, 'UTC'",
       .window_us = 86'400 * kSecond,
       .keys = {"k1"},
       .measures = {{"n", "count(*)"}, {"lo_q", "min(q)"}},
       .origin_us = 946'857'600 * kSecond},  // The Monday that calendar days are counted from.
      {"for_ever", "clean", "", 0, {"k1"}, {{"n", "count(*)"}, {"s_q", "sum(q)"}, {"hi_q", "max(q)"}}},
  };
}

// The rows with the first time of their session as w, and the gap after its last as e.
std::string WithSessions(const Aggregate& aggregate, const std::string& rows) {
  const std::string keys = fmt::format("{}", fmt::join(aggregate.keys, ", "));
  const std::string in_order = fmt::format("(PARTITION BY {} ORDER BY ts, _partition, _offset)", keys);
  const std::string begins = fmt::format(
      "SELECT *, CASE WHEN epoch_us(ts) - epoch_us(lag(ts) OVER {}) < {} THEN 0 ELSE 1 END AS begins FROM ({})",
      in_order, aggregate.window_us, rows);
  return fmt::format(
      "SELECT * EXCLUDE (w, e), epoch_us(min(ts) OVER s) AS w, epoch_us(max(ts) OVER s) + {} AS e FROM (SELECT *, "
      "sum(begins) OVER {} AS number FROM ({})) WINDOW s AS (PARTITION BY {}, number)",
      aggregate.window_us, in_order, begins, keys);
}

}  // namespace

Scenario RandomScenario(std::mt19937& random) {
  Scenario scenario;
  const auto one_in = [&random](unsigned n) { return random() % n == 0; };
  const auto trigger = [&random, &one_in] {
    return config::CommitTrigger{.interval = std::chrono::milliseconds(2 + random() % 40),
                                 .bytes = one_in(3) ? 4096 : 256 << 20};
  };
  const auto properties = [&one_in]() -> std::map<std::string, std::string> {
    if (one_in(2)) return {};
    return {{"delta.checkpointInterval", "5"}};
  };
  auto& config = scenario.config;
  config.name = config.app_id = "oracle";
  config.source.log = config::EmbeddedSource{};
  config.inputs[0].topics = {"events"};
  config.inputs[0].decode = Columns();
  config.inputs[0].event_time =
      config::EventTimeConfig{.column = "ts", .max_future = std::chrono::microseconds(kMaxFutureMicros)};
  config.transforms = {{"clean", kClean}};
  config.limits.threads = static_cast<int>(1 + random() % 3);
  if (one_in(4)) config.limits.memory = 2 << 20;
  config.shutdown_timeout = 10s;
  scenario.has_raw = !one_in(3);
  scenario.has_clean = one_in(2);
  if (scenario.has_raw) {
    config.tables.push_back({.name = "raw", .commit = trigger(), .properties = properties()});
    if (one_in(3)) config.tables.back().partition_by = {"date(ts)"};
  }
  if (scenario.has_clean) {
    config.tables.push_back({.name = "cleaned", .from = "clean", .commit = trigger(), .properties = properties()});
    if (one_in(3)) config.tables.back().partition_by = {"k2"};
  }
  auto aggregates = AllAggregates();
  std::shuffle(aggregates.begin(), aggregates.end(), random);
  aggregates.resize(1 + random() % 2);
  for (const auto& aggregate : aggregates) {
    config.aggregates.push_back(
        {.name = aggregate.name, .sql = aggregate.Sql(), .commit = trigger(), .properties = properties()});
  }
  scenario.aggregates = std::move(aggregates);
  scenario.has_routes = one_in(3);
  if (scenario.has_routes) {
    config.tables.push_back(
        {.name = kFamily, .route = "k1", .from = "clean", .commit = trigger(), .properties = properties()});
  }
  return scenario;
}

Question WholeQuestion(const Aggregate& aggregate) {
  Question question{.request = {}, .keys = aggregate.keys, .step_us = aggregate.window_us};
  if (!aggregate.has_windows()) question.step_us.reset();
  return question;
}

Question RandomQuestion(const Aggregate& aggregate, std::mt19937& random) {
  const auto one_in = [&random](unsigned n) { return random() % n == 0; };
  Question question = WholeQuestion(aggregate);
  auto& request = question.request;
  if (one_in(4)) request.freshness = query::Freshness::kCommitted;
  if (!aggregate.has_windows()) return question;
  const UnixMicros begin = 1'767'225'600 * kSecond;
  if (one_in(3)) request.range.from = begin + aggregate.window_us * static_cast<std::int64_t>(random() % 3);
  if (one_in(3)) request.range.to = begin + aggregate.window_us * static_cast<std::int64_t>(1 + random() % 5);
  if (!aggregate.keys.empty() && one_in(5)) question.where = request.where = "k1 = 'a' OR k1 IS NULL";
  if (aggregate.sessions()) return question;  // Of all keys, and no other windows can be made of them.
  if (one_in(4)) {
    question.step_us = aggregate.pane_us * static_cast<std::int64_t>(1 + random() % 4);
    question.own_windows = false;
    request.step_us = question.step_us;
  } else if (one_in(4)) {
    question.step_us.reset();
    question.own_windows = false;
    request.step_us = 0;
  }
  if (!aggregate.keys.empty() && one_in(4)) {
    question.keys = {aggregate.keys.front()};
    request.group_by = question.keys;
    if (question.step_us && !request.step_us) request.group_by->push_back("window_start");
  }
  return question;
}

std::int32_t NumberOf(const model::TopicPartition& source) {
  return (source.topic == "more" ? 3 : 0) + source.partition;
}
std::string ReferenceSql(const Aggregate& aggregate, const Question& question, const model::OffsetVector& offsets) {
  const auto floor_to = [](const std::string& value, std::int64_t step) {
    return fmt::format("({0} - (({0} % {1}) + {1}) % {1})", value, step);
  };
  std::string covered = "false";
  for (const auto& [source, next] : offsets) {
    covered += fmt::format(" OR (_partition = {} AND _offset < {})", NumberOf(source), next);
  }
  // w and e: the windows that a row is in, or its pane where each event counts once.
  std::string windows = "0 AS w, 0 AS e";
  std::string of_panes;
  if (aggregate.has_windows()) {
    const std::string pane = floor_to("epoch_us(ts)", aggregate.pane_us);
    windows = fmt::format("{} AS w, w + {} AS e", pane, aggregate.pane_us);
    if (aggregate.overlap() && question.own_windows) {
      const bool hops = aggregate.function == "HOP";
      windows = hops ? fmt::format("{} - i * {} AS w, w + {} AS e", pane, aggregate.pane_us, aggregate.window_us)
                     : fmt::format("{} AS w, w + (i + 1) * {} AS e", floor_to("epoch_us(ts)", aggregate.window_us),
                                   aggregate.pane_us);
      of_panes = fmt::format(", range({}) AS windows(i)", aggregate.window_us / aggregate.pane_us);
    }
  }
  std::string base = fmt::format("SELECT *, {} FROM ({}) AS rows{} WHERE {} AND ({}) AND ({})", windows,
                                 aggregate.relation == "clean" ? kCleanReference : "SELECT * FROM events", of_panes,
                                 aggregate.has_windows() ? "ts IS NOT NULL" : "true", aggregate.where, covered);
  if (aggregate.sessions()) base = WithSessions(aggregate, base);
  if (!of_panes.empty()) base = fmt::format("SELECT * FROM ({}) WHERE e > epoch_us(ts)", base);
  std::string filter = question.where;
  if (question.request.range.from) filter = fmt::format("({}) AND w >= {}", filter, *question.request.range.from);
  if (question.request.range.to) filter = fmt::format("({}) AND w < {}", filter, *question.request.range.to);
  std::string select = "SELECT ";
  std::string group;
  if (question.step_us) {
    if (question.own_windows) {
      select += "w AS window_start, e AS window_end, ";
      group = "window_start, window_end";
    } else {
      const std::int64_t origin = aggregate.origin_us;
      select += fmt::format("{} + {} AS window_start, ", floor_to(fmt::format("(w - {})", origin), *question.step_us),
                            origin);
      group = "window_start";
    }
  }
  for (const auto& key : question.keys) {
    select += key + ", ";
    group += (group.empty() ? "" : ", ") + key;
  }
  for (const auto& measure : aggregate.measures) {
    select += (measure.reference.empty() ? measure.sql : measure.reference) + " AS " + measure.name + ", ";
  }
  return select + "0 AS end_of_list FROM (" + base + ") WHERE " + filter + (group.empty() ? "" : " GROUP BY " + group);
}

}  // namespace millrace::oracle
