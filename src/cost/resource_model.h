/// From a load to quantities: what one provider would meter in a month. Pure arithmetic, no prices.
///
/// A month is 730 hours, or 2,628,000 seconds. More load never makes a quantity smaller.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "cost/money.h"
#include "cost/price_sheet.h"
#include "cost/usage.h"

namespace millrace::cost {

inline constexpr double kHoursPerMonth = 730;
inline constexpr double kSecondsPerMonth = 2'628'000;

/// The parts of a bill, in the order in which they are shown.
enum class Category {
  kCompute,
  kEventLog,
  kStorage,
  kLoadBalancer,
  kBandwidth,
  kZoneTraffic,
  kKubernetes,
  kSqlDatabase,
};
inline constexpr int kNumCategories = 8;
/// "Compute", "Event log", "Database storage", ...
std::string_view ToString(Category category);

/// What the line of the machines that do the work begins with.
inline constexpr const char* kWorkers = "Workers and query nodes";

struct ResourceLine {
  Category category = Category::kCompute;
  std::string name;     ///< "Workers and query nodes: 2 x m6i.large"
  std::string sku;      ///< Of AllSkus(); its unit is the quantity's.
  Quantity quantity;    ///< A month.
  std::string rule;     ///< The arithmetic, with this load's numbers.
  bool scales = false;  ///< Grows with the load, rather than in steps or not at all.
};

/// The services that keep a log at a provider, the standard one first; none on machines of one's own.
std::vector<LogService> LogServicesOf(Provider provider);
/// As its seller writes it: "MSK Express". The service is one of LogServicesOf().
std::string_view NameOf(Provider provider, LogService service);

/// Lines of a quantity of 0 are left out. kInvalidInput: more than can be counted, by line.
Result<std::vector<ResourceLine>> ResourcesFor(const Usage& usage, Provider provider);

/// One table of the load, everything known.
struct TableLoad {
  double commit_seconds = 60;
  double ratio = 0;
  double files_per_commit = 1;
  double checkpoint_interval = 100;
  double retention_days = 30;
};
/// The tables that a load names, or as many as it counts.
std::vector<TableLoad> TablesOf(const Usage& usage);

/// Requests of one table in a month, by price class.
struct TableRequests {
  double puts = 0;  ///< PUT, POST, parts of uploads, LIST.
  double gets = 0;  ///< GET, HEAD.
  double bytes_per_commit = 0;
};
/// An upload of less than 8 MiB is one PUT; a larger one is a PUT for each 8 MiB and two more to begin and end it. A
/// commit is one more, a checkpoint (and `_last_checkpoint`) two. Nothing is committed when nothing came in.
TableRequests RequestsOf(const TableLoad& table, const Usage& usage);

}  // namespace millrace::cost
