/// What the HTTP API asks of the rest of the program. Implemented by pipeline/ (a worker, and a process that only
/// answers) and by nothing else.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "query/aggregate_query.h"
#include "query/sql_engine.h"
#include "serve/tap_source.h"

namespace millrace::serve {

/// Any thread; calls may block for as long as a query takes, Ready() excepted. kNotFound, kInvalidInput, kTooLarge and
/// kTransient become 404, 400, 413, 503.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual Result<boost::json::value> Tables() = 0;
  virtual Result<boost::json::value> Table(const std::string& name) = 0;
  virtual Result<boost::json::value> Aggregates() = 0;
  /// Ends soon after `stop` was requested, with whatever status.
  virtual Result<query::Answer> Query(const std::string& aggregate, const query::AggregateRequest& request,
                                      const std::stop_token& stop) = 0;
  /// The state (Answer::state) of what Query() would answer now, without waiting for anything, and the request as all
  /// have it that ask for the same; nullopt: it is not known without waiting, or there is no such aggregate.
  virtual std::optional<query::AnswerState> KnownState(const std::string& aggregate,
                                                       query::AggregateRequest& request) const {
    static_cast<void>(aggregate);
    static_cast<void>(request);
    return std::nullopt;
  }
  /// Somebody was given an answer that Query() had given before.
  virtual void NoteAnsweredAgain() {}
  /// Likewise. kNotFound: a table that the statement names.
  virtual Result<query::Answer> Sql(const query::SqlRequest& request, const std::stop_token& stop) = 0;
  /// What a statement would take and give, without reading rows. Ends and fails as Sql() does.
  virtual Result<sql::StatementShape> SqlShape(const std::string& sql, const std::stop_token& stop) = 0;
  /// The tables that statements can name, by name, with their columns. Ends soon after `stop` was requested.
  virtual Result<std::vector<query::SqlTableShape>> SqlTables(const std::stop_token& stop) = 0;
  /// As Sql(). kNotFound: the table.
  virtual Result<query::Answer> Rows(const query::RowsRequest& request, const std::stop_token& stop) = 0;
  /// The commits of a table, newest first, at most `limit`.
  virtual Result<boost::json::value> History(const std::string& table, std::int64_t limit) = 0;
  /// The live files of a table, at most `limit` of those after `after` in the order of their paths.
  virtual Result<boost::json::value> Files(const std::string& table, std::optional<delta::TableVersion> version,
                                           const std::string& after, std::int64_t limit) = 0;
  virtual Result<boost::json::value> Pipeline() = 0;
  /// How far each partition is read and committed, and how far that is behind the log.
  virtual Result<boost::json::value> Lag() = 0;
  /// How many dead letters there are, by stage and reason, and the newest `limit` of them. `reason`: only letters of
  /// it; empty: all. Ends soon after `stop` was requested.
  virtual Result<boost::json::value> DeadLetters(const std::string& reason, std::int64_t limit,
                                                 const std::stop_token& stop) = 0;
  /// Begins to look at the log, beside the pipeline. kInvalidInput: no such input or transform, or `where` is no
  /// condition over its rows. kTransient: the log does not answer. kUnsupported: this process reads none.
  virtual Result<std::unique_ptr<TapSource>> Tap(const TapRequest& request) {
    static_cast<void>(request);
    return Unsupported(
        "this process reads no log: ask one that was started with --role all, or run millrace tap beside the log");
  }
  /// The load as this instance measured it: a document of cost::ReadUsage(). kTransient before the first record.
  virtual Result<boost::json::value> CostUsage() = 0;
  /// Prometheus text.
  virtual std::string Metrics() = 0;
  /// Without waiting for anything: it is asked on the thread that all connections share.
  virtual bool Ready() = 0;
  /// What changes when an answer may: rows that came or were committed here, or a watermark that moved. Without waiting
  /// for anything.
  struct Pulse {
    std::uint64_t changes = 0;
    std::optional<UnixMicros> watermark;
    bool operator==(const Pulse&) const = default;
  };
  virtual Pulse Feel() = 0;

  /// What this process has in memory, for the others of its pipeline: question and answer as in peers/hot_wire.h.
  /// kNotFound: it has nothing of its own.
  virtual Result<std::string> AnswerPeer(std::string_view question) {
    static_cast<void>(question);
    return NotFound("this process has no rows in memory");
  }
  /// A text of peers::Pulse, likewise.
  virtual Result<std::string> PulseForPeers() { return NotFound("this process has no rows in memory"); }
};

}  // namespace millrace::serve
