#include "sql/time_zone_rules.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/record_batch.h>
#include <arrow/table.h>

#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "base/ascii_case.h"
#include "base/nearest_name.h"

namespace millrace::sql {
namespace {

constexpr std::int64_t kSecondUs = 1'000'000;
constexpr std::int64_t kDayUs = 86'400 * kSecondUs;
constexpr UnixMicros kFirstLook = -4'102'444'800 * kSecondUs;  // 1840-01-01
constexpr const char* kInstants = "_millrace_instants";

Result<std::vector<std::string>> ZoneNames(SqlSession& session) {
  ASSIGN_OR_RETURN(const auto table, session.Query("SELECT name FROM pg_timezone_names() ORDER BY name"));
  ASSIGN_OR_RETURN(const auto batch, table->CombineChunksToBatch());
  const auto& names = static_cast<const arrow::StringArray&>(*batch->column(0));
  std::vector<std::string> all;
  for (std::int64_t i = 0; i < names.length(); ++i) all.push_back(names.GetString(i));
  return all;
}

Result<std::vector<std::int64_t>> OffsetsAt(SqlSession& session, const std::string& zone,
                                            const std::vector<UnixMicros>& instants) {
  const auto type = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  arrow::TimestampBuilder builder(type, arrow::default_memory_pool());
  RETURN_NOT_OK(builder.AppendValues(instants));
  ASSIGN_OR_RETURN(auto column, builder.Finish());
  const auto schema = arrow::schema({arrow::field("i", type)});
  const auto num_rows = static_cast<std::int64_t>(instants.size());
  RETURN_NOT_OK(session.Register(kInstants, schema, {arrow::RecordBatch::Make(schema, num_rows, {std::move(column)})}));
  const auto table = session.Query(
      fmt::format("SELECT epoch_us(timezone({}, i)) - epoch_us(i) FROM {}", QuoteLiteral(zone), kInstants));
  RETURN_NOT_OK(session.Register(kInstants, schema, {}));
  RETURN_NOT_OK(table.status());
  ASSIGN_OR_RETURN(const auto batch, (*table)->CombineChunksToBatch());
  const auto& values = static_cast<const arrow::Int64Array&>(*batch->column(0));
  if (values.length() != num_rows || values.null_count() > 0) {
    return Internal("DuckDB gives {} offsets of {} for {} times", values.length() - values.null_count(), zone,
                    num_rows);
  }
  return std::vector<std::int64_t>(values.raw_values(), values.raw_values() + num_rows);
}

// Looks once a day, and then for the second between the two days that differ.
Result<std::shared_ptr<const TimeZone>> Explore(SqlSession& session, const std::string& name) {
  std::vector<UnixMicros> days;
  for (UnixMicros day = kFirstLook; day <= TimeZone::kCycleEnd; day += kDayUs) days.push_back(day);
  ASSIGN_OR_RETURN(const auto offsets, OffsetsAt(session, name, days));

  struct Search {
    UnixMicros before;  // Still of the old offset.
    UnixMicros after;   // Of the new one.
    std::int64_t offset_us;
  };
  std::vector<Search> searches;
  for (std::size_t i = 1; i < days.size(); ++i) {
    if (offsets[i] != offsets[i - 1]) searches.push_back({days[i - 1], days[i], offsets[i]});
  }
  for (std::int64_t width = kDayUs; width > kSecondUs && !searches.empty();) {
    const std::int64_t half = width / kSecondUs / 2 * kSecondUs;
    std::vector<UnixMicros> middles;
    for (const Search& search : searches) middles.push_back(search.before + half);
    ASSIGN_OR_RETURN(const auto found, OffsetsAt(session, name, middles));
    width -= half;
    for (std::size_t i = 0; i < searches.size(); ++i) {
      Search& search = searches[i];
      if (found[i] == search.offset_us) {
        search.after = middles[i];
        search.before = search.after - width;
      } else {
        search.before = middles[i];
      }
    }
  }
  std::vector<TimeZone::Change> changes;
  for (const Search& search : searches) changes.push_back({search.after, search.offset_us});
  return std::make_shared<const TimeZone>(name, offsets.front(), std::move(changes));
}

}  // namespace

Result<std::shared_ptr<const TimeZone>> LoadTimeZone(SqlSession& session, const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<const TimeZone>> known;  // By DuckDB's spelling: some hundred at most.
  ASSIGN_OR_RETURN(const auto names, ZoneNames(session));
  for (const std::string& candidate : names) {
    if (AsciiLower(candidate) != AsciiLower(name)) continue;
    const std::lock_guard lock(mutex);
    auto& zone = known[candidate];
    if (zone == nullptr) {
      ASSIGN_OR_RETURN(zone, Explore(session, candidate));
    }
    return zone;
  }
  return InvalidInput("there is no time zone '{}'{}", name, DidYouMean(name, names));
}

}  // namespace millrace::sql
