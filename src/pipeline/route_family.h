/// The tables of one `route`: a table for each value of a column, made when its first row comes, and an index of them.
///
/// The index is a Delta table, `ev_routes` for `ev_{type}`. What it holds of offsets, books and watermark is the whole
/// family's, so everything that asks how far a table has come asks the index. Its rows say which values have a table:
///
///   value  table     claimed_at
///   click  ev_click  2026-01-01 00:00:00Z
///
/// A value is claimed there before it has a table, all new ones of an epoch in one commit, fenced by their number, the
/// txn `<app_id>#routes`: so `max` holds over all workers, and of two that want the last place one is first.
///
/// A table of the family has the offsets and books of its own rows alone, as every table of events has. At a cut the
/// tables that got rows commit first, each atomically and fenced by its own offsets, and the index after them. What
/// dies in between leaves tables that are ahead of the index; reading goes on at the index, and they leave out what
/// they hold. docs/exactly-once.md has the argument, ADR 15 the reasons.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "delta/table.h"
#include "objectstore/object_store.h"
#include "pipeline/plan.h"
#include "pipeline/progress.h"

namespace millrace::pipeline {

/// One table of a family.
struct Route {
  int number = 0;  ///< In this process; never given to another value.
  std::string value;
  std::string name;
  std::shared_ptr<objectstore::ObjectStore> store;
  std::shared_ptr<delta::Table> table{};  ///< nullptr: not made yet.
  std::optional<Progress> progress{};     ///< If there is a table.
  bool is_claimed = false;                ///< The index has it.
  delta::TableVersion last_checkpoint = 0;
};

/// Whether a value's rows have a table.
struct Admission {
  int route = -1;           ///< -1: they have none.
  const char* reason = "";  ///< Then: `route_name` or `route_limit`, of their dead letters.
  std::string why{};        ///< Likewise, a sentence's end.
};

inline constexpr const char* kRouteNull = "route_null";
inline constexpr const char* kRouteName = "route_name";
inline constexpr const char* kRouteLimit = "route_limit";

/// Admit(), ForgetUnclaimed(), StoreOf() and routes() from any thread; the others from one thread at a time, and nobody
/// else writes to its tables meanwhile.
class RouteFamily {
 public:
  /// `index`: the family's table in the lake, as it is now. Opens the tables that it names, and makes none. kCorrupt:
  /// the index has lost rows; errors of a table name it: kInvalidInput (it does not fit the plan), those of
  /// delta::Table::Open(). `plan` outlives it.
  static Result<std::unique_ptr<RouteFamily>> Open(const Plan& plan, int table, std::shared_ptr<delta::Table> index,
                                                   std::shared_ptr<objectstore::ObjectStore> lake);

  static std::shared_ptr<arrow::Schema> IndexSchema();
  static delta::CreateOptions IndexCreateOptions(const Plan& plan, int table);
  /// Whether the index is of this family: kInvalidInput says what it is of.
  static Status CheckIndex(const Plan& plan, int table, const delta::Table& index);

  /// The table of this value, which gets one if there is room: Claim() makes it the index's.
  Admission Admit(std::string_view value);
  /// After the open epochs were dropped: what was admitted and not claimed is nobody's any more.
  void ForgetUnclaimed();
  std::shared_ptr<objectstore::ObjectStore> StoreOf(int route) const;
  /// Those that the index has, by value.
  std::vector<Route> routes() const;

  /// Brings claims and tables up to date; the index itself is the caller's to refresh. Errors as Open().
  Status Refresh();
  /// Claims these in one commit, and makes their tables. kConflict: others have taken the places, or another's table is
  /// where one would be: the rows must be dropped, and their records judged anew after ForgetUnclaimed() and Refresh().
  /// Errors else as those of delta::Table.
  Status Claim(const std::vector<int>& routes);
  /// With a table, after Claim().
  Route Get(int route) const;

  /// Checkpoints of tables that have had enough commits since the last; the failures of any.
  std::vector<Status> WriteCheckpoints();

  /// kInvalidInput: what a row's table depends on was edited while one of them is ahead of the index, so that records
  /// which it has could go to another. `progress`: of the index.
  Status CheckEdit(const Progress& progress) const;
  /// After CheckEdit(): what a row's table depends on now is what the next edit is compared with.
  Status KeepOrigin();
  /// Columns that the plan has and tables lack (on_new_column: add).
  Status AddColumns();

 private:
  RouteFamily(const Plan& plan, int table, std::shared_ptr<delta::Table> index,
              std::shared_ptr<objectstore::ObjectStore> lake);
  const config::TablePlan& table_plan() const { return plan_.tables[static_cast<std::size_t>(index_of_plan_)]; }
  std::string TxnId() const { return plan_.config.app_id + "#routes"; }
  std::string Tag() const { return plan_.config.app_id + "/" + table_plan().name; }
  Status LoadClaims();
  Status OpenTable(Route& route) const;
  Status MakeTable(Route& route) const;
  Status CheckTable(const delta::Table& table) const;
  /// Whether another's table is where this one would be.
  Result<bool> IsTaken(const Route& route) const;
  Result<delta::AddFile> WriteClaims(const std::vector<Route>& claimed) const;
  std::vector<Route> UnclaimedOf(const std::vector<int>& routes) const;
  void Put(const Route& route);

  const Plan& plan_;
  const int index_of_plan_;
  const std::shared_ptr<delta::Table> index_;
  const std::shared_ptr<objectstore::ObjectStore> lake_;
  std::int64_t num_claimed_ = 0;  // That LoadClaims() has read.

  mutable std::mutex mutex_;
  std::vector<Route> routes_;                   // By number. Guarded by mutex_.
  std::map<std::string, int> numbers_;          // By name in lower case, of those that are. Guarded by mutex_.
  std::map<std::string, std::string> refused_;  // Likewise, and why. Guarded by mutex_.
};

}  // namespace millrace::pipeline
