/// The distinct values of each group, perhaps with how often each came or where it came first: what count(DISTINCT x),
/// histogram(x) and list(DISTINCT x) keep.
///
/// A group keeps a limited number of them. One with more is exceeded: it takes no more values, says so in its partial
/// rows, and has no value in an answer. Whether a group is exceeded depends on its rows alone, not on how they were
/// split.
///
/// State columns: whether the group is exceeded, a list of its values (empty if it is), and lists of what is kept
/// beside each: how often it came, or the place of its first event (event_order.h). With places the lists are in the
/// order of events.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "aggregate/accumulator.h"
#include "aggregate/event_order.h"
#include "aggregate/function.h"
#include "aggregate/group_table.h"
#include "aggregate/list_elements.h"

namespace millrace::aggregate {

/// Function::oversized of functions that keep this.
inline constexpr std::string_view kTooManyValues = "The group has more distinct values than group_values_max";

/// What is kept beside each distinct value.
enum class Beside { kNothing, kCounts, kPlaces };

/// Of the first argument. Absent: its values cannot be kept.
std::optional<CallState> DistinctState(const Call& call, const std::string& function, Beside beside);

class DistinctAccumulator : public Accumulator {
 public:
  DistinctAccumulator(PhysicalType physical, Beside beside)
      : physical_(physical), beside_(beside), values_({physical}) {}

  void LimitValues(std::int64_t values_max) override { values_max_ = values_max; }
  void Resize(std::size_t num_groups) override { groups_.resize(num_groups); }
  void Update(Columns arguments, const GroupedRows& rows) override;
  void Merge(Columns states, const GroupedRows& rows) override;
  void Export(std::span<const std::uint32_t> groups, std::span<ValueColumn> states) const override;
  std::int64_t bytes() const override;
  std::vector<std::uint32_t> Settle() override;

 private:
  struct Group {
    std::uint32_t last = 0;  // Of its values: 1 + its number; 0: none.
    std::int64_t size = 0;
    bool exceeded = false;
    bool settled = false;  // As exceeded, and nothing to be shown.
  };

  // `beside`: how often the value of a row came, or its place. Empty: once each.
  void Take(const ColumnView& values, const GroupedRows& rows, Columns beside);
  void AddValue(std::uint32_t value, ValueColumn& column) const;

  const PhysicalType physical_;
  const Beside beside_;
  std::int64_t values_max_ = 0;
  GroupTable values_;                     // With the group in the place of the window.
  std::vector<std::uint32_t> previous_;   // By value: 1 + the one before it of its group; 0: it is the first.
  std::vector<std::int64_t> num_events_;  // By value, if beside_ is kCounts.
  GroupPlaces places_;                    // By value, if beside_ is kPlaces: of the first event that had it.
  std::vector<Group> groups_;

  // Of the rows at hand; kept for their memory.
  std::vector<std::int64_t> row_groups_;
  std::vector<std::uint8_t> ok_;
  std::vector<std::uint32_t> row_values_;
  ListElements elements_;
};

}  // namespace millrace::aggregate
